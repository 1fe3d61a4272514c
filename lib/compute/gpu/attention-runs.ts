// How the rows of a batch go through a device's attention: in runs of [spans, rows of a span]. Short spans share a run,
// long ones go alone, in pieces; a later run of a layer sees what an earlier one wrote.
//
// Invariants
//   P1  A run has at least `leastRows` rows (`attention-probe.ts`), so that its products take the device's one way for
//       many rows: another for few would give a row other bits. Rows that fill up see nothing and write to a slot that
//       nobody reads.

import { sliceSpans, type RowView } from '../attention-batch.js'
import type { HeadGeometry } from '../attention-layer.js'
import { cut } from '../room.js'
import type { Matrix } from '../session.js'
import { ONES, UNSEEN } from './attention-graph.js'

/** Slots of the pool that belong to no sequence: one of zeros to be read, one to be written to. */
export const ZERO_SLOT = 0
export const WASTE_SLOT = 1

const SHORT_ROWS = 16 // of a span that shares a run
const MOST_ROWS = 512 // of a run
const RUN_BYTES = 2 ** 26 // of scores, or of gathered keys, where one span allows it
const SLOT_STEP = 64 // tables are whole multiples: few shapes

/** Rows of one sequence that attend together. */
export interface DeviceSpan {
  readonly views: readonly RowView[]
  readonly slots: ArrayLike<number> // of the sequence
  readonly table: readonly number[] // slot of the sequence → slot of the pool
}

/** A part of a span: its rows lie at `firstRow` of the batch. */
interface Piece extends DeviceSpan {
  readonly firstRow: number
}

export interface DeviceRun {
  readonly spans: number
  readonly rows: number // of each span
  /** The batch's row of each row of the run; -1: it fills up. */
  readonly places: Int32Array
  /** What is the same in all layers, but for shapes: `cos`, `sin`, `places`, `table`, `mask`, `ones`. */
  readonly shared: Readonly<Record<string, Matrix>>
  /** Shapes of the scores, read by the processor: `apart`, `joined`. */
  readonly shapes: Readonly<Record<string, Matrix>>
}

export interface RunShape extends HeadGeometry {
  readonly leastRows: number
}

/** Lays the spans' rows out as runs, in the order they have to go. `tables`: [rows, headDim] cosines, then sines. */
export function deviceRuns(spans: readonly DeviceSpan[], tables: Float32Array, shape: RunShape): DeviceRun[] {
  return grouped(piecesOf(spans), shape).map((pieces) => runOf(pieces, tables, shape))
}

function piecesOf(spans: readonly DeviceSpan[]): Piece[] {
  let firstRow = 0
  return spans.map((span) => {
    const piece = { ...span, firstRow }
    firstRow += span.views.length
    return piece
  })
}

function grouped(pieces: readonly Piece[], geometry: HeadGeometry): Piece[][] {
  const { numHeads, numKvHeads, headDim } = geometry
  const runs: Piece[][] = []
  let open: Piece[] = []
  let [rows, slots] = [0, 0] // of a span of the open run
  for (const piece of pieces) {
    if (piece.views.length > SHORT_ROWS) {
      const fitting = Math.floor(RUN_BYTES / (4 * numHeads * numSlotsOf(piece)))
      runs.push(...cutPiece(piece, Math.max(SHORT_ROWS, Math.min(MOST_ROWS, fitting))).map((part) => [part]))
      continue
    }
    rows = Math.max(rows, piece.views.length)
    slots = Math.max(slots, numSlotsOf(piece))
    const count = open.length + 1
    const isFull = count * slots * numKvHeads * headDim * 4 > RUN_BYTES || count * rows > MOST_ROWS
    if (open.length > 0 && isFull) {
      runs.push(open)
      open = []
      rows = piece.views.length
      slots = numSlotsOf(piece)
    }
    open.push(piece)
  }
  return open.length > 0 ? [...runs, open] : runs
}

const cutPiece = (piece: Piece, size: number): Piece[] =>
  cut(piece.views.length, Math.ceil(piece.views.length / size)).flatMap(({ first, size: rows }) =>
    sliceSpans([piece], first, first + rows).map((part) => ({ ...part, firstRow: piece.firstRow + first })),
  )

/** Slots of the table that the rows see, in whole steps. */
function numSlotsOf({ views }: DeviceSpan): number {
  const end = views.reduce((most, { prefix, more }) => Math.max(most, prefix, (more.at(-1) ?? -1) + 1), 0)
  return Math.ceil(end / SLOT_STEP) * SLOT_STEP
}

function runOf(pieces: readonly Piece[], tables: Float32Array, shape: RunShape): DeviceRun {
  const { numHeads, numKvHeads, headDim, leastRows } = shape
  const spans = pieces.length
  const rows = powerOfTwo(Math.max(Math.ceil(leastRows / spans), ...pieces.map(({ views }) => views.length)))
  const numSlots = Math.max(...pieces.map(numSlotsOf))
  const half = headDim / 2
  const places = new Int32Array(spans * rows).fill(-1)
  const [cos, sin] = [new Float32Array(spans * rows * half), new Float32Array(spans * rows * half)]
  const writes = new Int32Array(spans * rows * numKvHeads).fill(WASTE_SLOT * numKvHeads)
  const table = new Int32Array(spans * numKvHeads * numSlots).fill(ZERO_SLOT)
  const mask = new Float32Array(spans * rows * numSlots).fill(UNSEEN)
  pieces.forEach((piece, span) => {
    for (let head = 0; head < numKvHeads; head++) {
      const list = table.subarray((span * numKvHeads + head) * numSlots, (span * numKvHeads + head + 1) * numSlots)
      for (let slot = 0; slot < numSlots; slot++) list[slot] = (piece.table[slot] ?? ZERO_SLOT) * numKvHeads + head
    }
    piece.views.forEach(({ prefix, more }, i) => {
      const row = span * rows + i
      const source = piece.firstRow + i
      places[row] = source
      cos.set(tables.subarray(source * headDim, source * headDim + half), row * half)
      sin.set(tables.subarray(source * headDim + half, (source + 1) * headDim), row * half)
      mask.fill(0, row * numSlots, row * numSlots + prefix)
      for (const slot of more) mask[row * numSlots + slot] = 0
      const slot = piece.table[piece.slots[i]!]!
      for (let head = 0; head < numKvHeads; head++) writes[row * numKvHeads + head] = slot * numKvHeads + head
    })
  })
  const group = numHeads / numKvHeads
  return {
    spans,
    rows,
    places,
    shared: {
      cos: { data: cos, dims: [spans, rows, 1, half] },
      sin: { data: sin, dims: [spans, rows, 1, half] },
      places: { data: writes, dims: [writes.length, 1] },
      table: { data: table, dims: [spans, numKvHeads, numSlots] },
      mask: { data: mask, dims: [spans, 1, 1, rows, numSlots] },
      ones: { data: new Float32Array(numSlots * ONES).fill(1), dims: [numSlots, ONES] },
    },
    shapes: {
      apart: shapeInput([spans, numKvHeads, group, rows, numSlots]),
      joined: shapeInput([spans, numKvHeads, group * rows, numSlots]),
    },
  }
}

const shapeInput = (dims: readonly number[]): Matrix => ({
  data: BigInt64Array.from(dims, BigInt),
  dims: [dims.length],
})

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(least))
