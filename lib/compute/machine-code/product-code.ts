// Machine code of the products of `kernels/linear.ts`, with the processor's widest vectors: same tasks, same layouts, same
// operations on every float in the same order, so the same bits. Integer sums are exact, whatever their order.
//
// Invariants
//   N1  A float is rounded where `kernels/linear.ts` rounds it: no fused multiplication, no other order of sums.

import { at } from './addressing.js'
import { REGISTER, type Assembler, type Label } from './assembler.js'
import {
  countDown,
  countUp,
  moveSums,
  ofFrame,
  ofTask,
  ROLE,
  TILE_BYTES,
  writeFunction,
  type VectorUnit,
} from './code-frame.js'
import {
  blockBytes,
  isFloat,
  PLACE,
  rowBytes,
  SCALE_BYTES,
  vectorRegisters,
  writeBlock,
  writeInput,
  type Accumulator,
  type ProductFormat,
  type RowsCode,
  type ScaleLayout,
  type VectorRegisters,
} from './product-blocks.js'

/** Bytes of a task's words: `Product` in `kernels/linear.ts`. */
const TASK = {
  weights: 4,
  blocks: 8,
  tiles: 12,
  x: 16,
  xStride: 20,
  rowList: 24,
  rows: 28,
  y: 32,
  yStride: 36,
  bias: 40,
  rowWeights: 44,
  tileBytes: 48,
  group: 52,
} as const

const { weights, scaleAt, offsetAt, xAt } = PLACE
const count = REGISTER.di
const { memory, pointers: firstRow } = ROLE
const [TILE, ROW] = [ofFrame(0), ofFrame(4)] // the loops' counters
const [GROUP_LEFT, MEMORY] = [ofFrame(8), ofFrame(16)] // blocks until the next scales; a register put aside
const FRAME_BYTES = 32

/** Rows that are computed together, largest first: as many as the vector registers hold. */
const rowCounts = ({ vectorBytes }: VectorUnit): readonly number[] => (vectorBytes === 64 ? [8, 4, 2, 1] : [2, 1])

export interface ProductKind {
  readonly format: ProductFormat
  readonly layout?: ScaleLayout // blocks, unless given
}

/** Writes `void product(uint32_t task)`; `base` is the address that the task's addresses count from. */
export function writeProduct(a: Assembler, unit: VectorUnit, kind: ProductKind, base: bigint): void {
  const { format, layout = 'blocks' } = kind
  const scales = layout === 'groups' ? memory : weights
  const constants = a.label()
  const registers = vectorRegisters(unit, format)
  writeFunction(a, base, FRAME_BYTES, () => {
    if (format === 'int4') loadConstants(a, unit, registers, constants)
    countUp(a, { counter: TILE, limit: ofTask(TASK.tiles), steps: [1] }, () =>
      countUp(a, { counter: ROW, limit: ofTask(TASK.rows), steps: rowCounts(unit) }, (rows) =>
        writeRows({ a, unit, format, layout, rows, scales, ...registers }),
      ),
    )
  })
  a.bind(constants)
  if (format === 'int4') a.data(new Uint8Array(Uint32Array.from(LEVELS).buffer))
}

/** Where the levels of outputs 0, 4, 8 and 12 begin in a 32-bit word, four words each; then the mask of two levels. */
const LEVELS = [0, 4, 8, 12].flatMap((shift) => [shift, shift, shift, shift]).concat(0x000f000f)

function loadConstants(a: Assembler, { vectorBytes }: VectorUnit, registers: VectorRegisters, constants: Label): void {
  a.loadAddress(weights, constants)
  for (let part = 0; part < registers.parts; part++) {
    a.vector('vmovups', vectorBytes, { to: registers.shifts + part, from: at(weights, part * vectorBytes) })
  }
  a.vector('vpbroadcastd', vectorBytes, { to: registers.mask, from: at(weights, TILE_BYTES) })
}

/** One tile for a few rows. */
function writeRows(code: RowsCode): void {
  const { a, format, layout } = code
  const sums = accumulators(code)
  locateRows(code)
  startSums(code, sums)
  locateWeights(code)
  if (layout === 'groups') startGroups(code)
  a.load32(count, ofTask(TASK.blocks))
  a.moveImmediate(xAt, 0n)
  countDown(a, count, 1, () => {
    if (isFloat(format)) writeInput(code, format, sums)
    else writeBlock(code, format, sums)
    a.addImmediate(weights, blockBytes(format, layout))
    a.addImmediate(xAt, rowBytes(format))
    a.addImmediate(scaleAt, 4)
    a.addImmediate(offsetAt, 4)
    if (layout === 'groups') nextGroup(code)
  })
  if (layout === 'groups') a.move(memory, MEMORY)
  storeSums(code, sums)
}

/** Scales of several blocks: their address takes the register that nothing else needs meanwhile. */
function startGroups({ a, scales }: RowsCode): void {
  a.store(MEMORY, memory)
  a.load32(count, ofTask(TASK.group))
  a.store(GROUP_LEFT, count)
  a.move(scales, weights)
}

/** Weights are addressed as if their scales stood in front of them: behind a group's last block come the next ones. */
function nextGroup({ a, scales }: RowsCode): void {
  const same = a.label()
  a.addImmediate(GROUP_LEFT, -1)
  a.jumpIf('notEqual', same)
  a.load32(scales, ofTask(TASK.group))
  a.store(GROUP_LEFT, scales)
  a.addImmediate(weights, SCALE_BYTES)
  a.move(scales, weights)
  a.bind(same)
}

/** Independent integer sums hide the time that a dot product takes; a few rows have them anyway. */
const numDots = ({ unit, format, rows }: RowsCode): number => {
  if (isFloat(format)) return 0
  return unit.hasDotProduct ? Math.max(1, Math.min(4, 8 / rows)) : 1
}

function accumulators(code: RowsCode): Accumulator[] {
  let next = code.firstSum
  const dots = numDots(code)
  return Array.from({ length: code.rows * code.parts }, (_, i) => ({
    row: Math.floor(i / code.parts),
    part: i % code.parts,
    sum: next++,
    dots: Array.from({ length: dots }, () => next++),
  }))
}

/** Addresses of the rows, by the task's list. */
function locateRows({ a, rows }: RowsCode): void {
  a.load32(weights, ROW)
  a.shiftLeft(weights, 2)
  a.add32(weights, ofTask(TASK.rowList))
  a.add(weights, memory)
  for (let row = 0; row < rows; row++) {
    a.load32(firstRow + row, at(weights, 4 * row))
    a.multiply32(firstRow + row, ofTask(TASK.xStride))
    a.add32(firstRow + row, ofTask(TASK.x))
    a.add(firstRow + row, memory)
  }
}

/** The weights of the tile; and where a row's scales and offsets begin, counted from the row. */
function locateWeights({ a }: RowsCode): void {
  a.load32(weights, TILE)
  a.multiply32(weights, ofTask(TASK.tileBytes))
  a.add32(weights, ofTask(TASK.weights))
  a.add(weights, memory)
  a.load32(scaleAt, ofTask(TASK.blocks))
  a.shiftLeft(scaleAt, 2)
  a.move(offsetAt, scaleAt)
  a.shiftLeft(scaleAt, 4)
  a.add(offsetAt, scaleAt)
}

/** Zero, the bias, or the bias times the row's weight. */
function startSums({ a, unit: { vectorBytes }, value }: RowsCode, sums: readonly Accumulator[]): void {
  const [biased, started] = [a.label(), a.label()]
  a.compareImmediate32(ofTask(TASK.bias), 0)
  a.jumpIf('notEqual', biased)
  for (const { sum } of sums) a.vector('vpxor', vectorBytes, { to: sum, left: sum, from: sum })
  a.jump(started)
  a.bind(biased)
  a.load32(weights, TILE)
  a.shiftLeft(weights, 6)
  a.add32(weights, ofTask(TASK.bias))
  a.add(weights, memory)
  for (const { sum, part } of sums) a.vector('vmovups', vectorBytes, { to: sum, from: at(weights, part * vectorBytes) })
  a.compareImmediate32(ofTask(TASK.rowWeights), 0)
  a.jumpIf('equal', started)
  a.load32(weights, ROW)
  a.shiftLeft(weights, 2)
  a.add32(weights, ofTask(TASK.rowWeights))
  a.add(weights, memory)
  for (const { sum, row } of sums) {
    a.vector('vpbroadcastd', vectorBytes, { to: value, from: at(weights, 4 * row) })
    a.vector('vmulps', vectorBytes, { to: sum, left: sum, from: value })
  }
  a.bind(started)
}

/** Results lie row after row. */
function storeSums({ a, unit }: RowsCode, sums: readonly Accumulator[]): void {
  a.load32(weights, ROW)
  a.multiply32(weights, ofTask(TASK.yStride))
  a.add32(weights, ofTask(TASK.y))
  a.add(weights, memory)
  a.load32(scaleAt, TILE)
  a.shiftLeft(scaleAt, 6)
  a.add(weights, scaleAt)
  a.load32(scaleAt, ofTask(TASK.yStride))
  moveSums(a, unit, 'vmovupsStore', sums, { first: weights, stride: scaleAt })
}
