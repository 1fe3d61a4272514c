// What the functions written here share: registers with a role, the stack frame, loops.

import { at, type Memory } from './addressing.js'
import { REGISTER, type Assembler } from './assembler.js'
import type { VectorBytes } from './vector-encoding.js'

export interface VectorUnit {
  readonly vectorBytes: VectorBytes
  readonly hasDotProduct: boolean // adds pairs of 16-bit products to 32-bit sums in one instruction (AVX-512 VNNI)
}

/** Bytes of sixteen floats: what all layouts of the kernels come in. Two vectors, or one. */
export const TILE_BYTES = 64
export const partsOf = ({ vectorBytes }: VectorUnit): number => TILE_BYTES / vectorBytes

/** The engine's memory begins at `memory`; `task` is the record's address; registers from `pointers` on are free. */
export const ROLE = { memory: REGISTER.bx, task: REGISTER.bp, pointers: 8 } as const

const SAVED = [ROLE.memory, ROLE.task, 12, 13, 14, 15]

/** `void function(uint32_t task, uint32_t scratch)` with a frame on the stack; both count from `base`. */
export function writeFunction(a: Assembler, base: bigint, frameBytes: number, writeBody: () => void): void {
  SAVED.forEach((register) => a.push(register))
  a.addImmediate(REGISTER.sp, -frameBytes)
  a.moveImmediate(ROLE.memory, base)
  a.loadAddress(ROLE.task, at(ROLE.memory, 0, REGISTER.di))
  writeBody()
  a.addImmediate(REGISTER.sp, frameBytes)
  SAVED.toReversed().forEach((register) => a.pop(register))
  a.return()
}

/** A 32-bit value of the task's record, of the frame. */
export const ofTask = (byte: number): Memory => at(ROLE.task, byte)
export const ofFrame = (byte: number): Memory => at(REGISTER.sp, byte)

/** Repeats code while a counter in memory rises to a limit, in the largest steps that still fit. Uses ax. */
export function countUp(
  a: Assembler,
  { counter, limit, steps }: { readonly counter: Memory; readonly limit: Memory; readonly steps: readonly number[] },
  write: (step: number) => void,
): void {
  a.moveImmediate(REGISTER.ax, 0n)
  a.store32(counter, REGISTER.ax)
  for (const step of steps) {
    const [again, done] = [a.label(), a.label()]
    a.bind(again)
    a.load32(REGISTER.ax, limit)
    a.subtract32(REGISTER.ax, counter)
    a.compareImmediate32(REGISTER.ax, step)
    a.jumpIf('less', done)
    write(step)
    a.moveImmediate(REGISTER.ax, BigInt(step))
    a.add32(REGISTER.ax, counter)
    a.store32(counter, REGISTER.ax)
    a.jump(again)
    a.bind(done)
  }
}

/** Repeats code until a register, reduced by `step` each time, is zero; at least once. */
export function countDown(a: Assembler, register: number, step: number, write: () => void): void {
  const again = a.label()
  a.bind(again)
  write()
  a.addImmediate(register, -step)
  a.jumpIf('notEqual', again)
}

/** A vector register of a block of rows: part of what a row adds up. */
export interface RowSum {
  readonly row: number
  readonly part: number
  readonly sum: number
}

/** sum += operand · x of the row at [its pointer + `at`]: a product rounded, then a sum rounded (N1). */
export function addProducts(
  a: Assembler,
  { vectorBytes }: VectorUnit,
  sums: readonly RowSum[],
  registers: { readonly operand: number; readonly value: number; readonly product: number; readonly at: number },
): void {
  const { operand, value, product } = registers
  for (const { row, part, sum } of sums) {
    const from = at(ROLE.pointers + row, 0, registers.at)
    if (part === 0) a.vector('vpbroadcastd', vectorBytes, { to: value, from })
    a.vector('vmulps', vectorBytes, { to: product, left: operand + part, from: value })
    a.vector('vaddps', vectorBytes, { to: sum, left: sum, from: product })
  }
}

/** Loads or stores sums whose rows lie `stride` (a register) apart from `first` on, which moves along. */
export function moveSums(
  a: Assembler,
  { vectorBytes }: VectorUnit,
  name: 'vmovups' | 'vmovupsStore',
  sums: readonly RowSum[],
  { first, stride }: { readonly first: number; readonly stride: number },
): void {
  for (const { row, part, sum } of sums) {
    if (part === 0 && row > 0) a.add(first, stride)
    a.vector(name, vectorBytes, { to: sum, from: at(first, part * vectorBytes) })
  }
}
