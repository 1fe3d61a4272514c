// Writes x86-64 machine code: the few instructions that our kernels are made of. Integer instructions work on 64 bits
// unless their name ends in 32. Source of the encodings: Intel 64 and IA-32 Architectures Software Developer's Manual,
// volume 2.
//
// Invariants
//   M1  What cannot be encoded throws `internal` while code is written, never while it runs.

import { ClusterError } from '../../errors.js'
import { encodeAddress, littleEndian, type Memory } from './addressing.js'
import { encodeVector, type VectorBytes, type VectorName, type VectorOperands } from './vector-encoding.js'

/** General registers by their number in the encoding; 8 to 15 have no other name. */
export const REGISTER = { ax: 0, cx: 1, dx: 2, bx: 3, sp: 4, bp: 5, si: 6, di: 7 } as const

/** A place in the code; jumps may name it before it is bound. */
export interface Label {
  readonly number: number
}

const CONDITIONS = { equal: 4, notEqual: 5, less: 12, greaterOrEqual: 13 } as const // of signed numbers
export type Condition = keyof typeof CONDITIONS

export interface Assembler {
  vector(name: VectorName, bytes: VectorBytes, operands: VectorOperands): void
  move(to: number, from: number | Memory): void
  store(to: Memory, from: number): void
  moveImmediate(to: number, value: bigint): void
  /** Loads 32 bits; the upper ones become zero. */
  load32(to: number, from: Memory): void
  store32(to: Memory, from: number): void
  loadAddress(to: number, from: Memory | Label): void
  add(to: number, from: number | Memory): void
  addImmediate(to: number | Memory, value: number): void
  add32(to: number, from: Memory): void
  subtract32(to: number, from: Memory): void
  multiply32(to: number, from: Memory): void
  multiplyImmediate32(to: number, value: number): void
  shiftLeft(to: number, bits: number): void
  shiftRight(to: number, bits: number): void
  compareImmediate32(left: number | Memory, value: number): void
  compare32(left: number, right: number | Memory): void
  /** Asks for a cache line; an address that is none does no harm. */
  prefetch(from: Memory): void
  push(register: number): void
  pop(register: number): void
  label(): Label
  bind(label: Label): void
  jump(label: Label): void
  jumpIf(condition: Condition, label: Label): void
  /** Returns to code that may be compiled for narrow vectors. */
  return(): void
  data(bytes: Uint8Array): void
  /** The code so far; every label that it names must be bound. */
  code(): Uint8Array
}

export function createAssembler(): Assembler {
  const bytes: number[] = []
  const places: (number | undefined)[] = [] // of labels
  const references: { readonly at: number; readonly label: Label }[] = []
  const emit = (...values: readonly number[]): void => void bytes.push(...values)
  const emit32 = (value: number): void => emit(...littleEndian(BigInt(value), 4))

  const emitReference = (label: Label): void => {
    references.push({ at: bytes.length, label })
    emit32(0)
  }

  /** [REX] opcode ModRM …; `register` is a register or an extension of the opcode. */
  const integer = (opcode: readonly number[], register: number, operand: number | Memory, bits: 32 | 64): void => {
    const isRegister = typeof operand === 'number'
    const index = isRegister ? 0 : (operand.index ?? 0)
    const base = isRegister ? operand : operand.base
    const rex = 0x40 | (bits === 64 ? 8 : 0) | ((register >> 3) << 2) | ((index >> 3) << 1) | (base >> 3)
    const place = isRegister ? [0xc0 | ((register & 7) << 3) | (operand & 7)] : encodeAddress(register, operand, 1)
    emit(...(rex === 0x40 ? [] : [rex]), ...opcode, ...place)
  }

  return {
    vector: (name, width, operands) => emit(...encodeVector(name, width, operands)),
    move: (to, from) => integer([0x8b], to, from, 64),
    store: (to, from) => integer([0x89], from, to, 64),
    moveImmediate: (to, value) => emit(0x48 | (to >> 3), 0xb8 | (to & 7), ...littleEndian(value, 8)),
    load32: (to, from) => integer([0x8b], to, from, 32),
    store32: (to, from) => integer([0x89], from, to, 32),
    loadAddress: (to, from) => {
      if (!('number' in from)) return integer([0x8d], to, from, 64)
      emit(0x48 | ((to >> 3) << 2), 0x8d, 5 | ((to & 7) << 3)) // relative to the next instruction
      emitReference(from)
    },
    add: (to, from) => integer([0x03], to, from, 64),
    addImmediate: (to, value) => {
      integer([0x81], 0, to, 64)
      emit32(value)
    },
    add32: (to, from) => integer([0x03], to, from, 32),
    subtract32: (to, from) => integer([0x2b], to, from, 32),
    multiply32: (to, from) => integer([0x0f, 0xaf], to, from, 32),
    multiplyImmediate32: (to, value) => {
      integer([0x69], to, to, 32)
      emit32(value)
    },
    shiftLeft: (to, bits) => {
      integer([0xc1], 4, to, 64)
      emit(bits)
    },
    shiftRight: (to, bits) => {
      integer([0xc1], 5, to, 64)
      emit(bits)
    },
    compareImmediate32: (left, value) => {
      integer([0x81], 7, left, 32)
      emit32(value)
    },
    compare32: (left, right) => integer([0x3b], left, right, 32),
    prefetch: (from) => integer([0x0f, 0x18], 1, from, 32), // into all caches
    push: (register) => emit(...(register > 7 ? [0x41] : []), 0x50 | (register & 7)),
    pop: (register) => emit(...(register > 7 ? [0x41] : []), 0x58 | (register & 7)),
    label: () => ({ number: places.push(undefined) - 1 }),
    bind: ({ number }) => void (places[number] = bytes.length),
    jump: (label) => {
      emit(0xe9)
      emitReference(label)
    },
    jumpIf: (condition, label) => {
      emit(0x0f, 0x80 | CONDITIONS[condition])
      emitReference(label)
    },
    return: () => emit(0xc5, 0xf8, 0x77, 0xc3), // vzeroupper, ret
    data: (values) => emit(...values),
    code: () => {
      const code = Uint8Array.from(bytes)
      const view = new DataView(code.buffer)
      for (const { at, label } of references) {
        const place = places[label.number]
        if (place === undefined) throw new ClusterError('internal', `assembler: want label ${label.number} bound`)
        view.setInt32(at, place - at - 4, true) // all references end their instruction
      }
      return code
    },
  }
}
