// The operands of a step's attention in the engine's memory: set up once per step, read by every layer.

import { PAGE_SLOTS, type HeadGeometry } from './attention-layer.js'
import type { Kernels } from './kernels.js'
import { roundedBytes } from './placed-linear.js'
import { BLOCK_SIZE } from './quantise.js'
import { cut, placeFloats, placeInts, type Room } from './room.js'
import { TILE } from './tiles.js'

/** What a row sees: the slots below `prefix`, and those of a list above it, rising. */
export interface RowView {
  readonly prefix: number
  readonly more: readonly number[]
}

/** Each node sees the committed slots, its ancestors' and its own; slots rise along a path. */
export function rowViews(committed: number, parents: ArrayLike<number>, slots: ArrayLike<number>): RowView[] {
  const views: RowView[] = []
  for (let node = 0; node < slots.length; node++) {
    const { prefix, more } = views[parents[node]!] ?? { prefix: committed, more: [] }
    const slot = slots[node]!
    const isNext = more.length === 0 && slot === prefix
    views.push(isNext ? { prefix: prefix + 1, more } : { prefix, more: [...more, slot] })
  }
  return views
}

/** Rows of one sequence that attend together. */
export interface AttentionSpan {
  readonly views: readonly RowView[] // one per row, itself included
  readonly slots: ArrayLike<number> // where each row's key and value go
  readonly pages: readonly number[] // addresses; all that a row sees or writes
}

/** Addresses; all rows of the batch one after the other. */
export interface AttentionBatch {
  readonly rows: number
  readonly h: number // [rows, hidden]
  readonly delta: number // [rows, hidden]
  readonly n: number // [rows, hidden]
  readonly projected: number // [rows, hidden]
  readonly qkv: number
  readonly attended: number // [rows, heads * headDim]
  readonly rounded: number
  readonly gate: number
  /** Normed rows as the experts' products read them; 0: they read `n`. */
  readonly forExperts: number
  readonly tables: number // [rows, headDim]: cosines, sines
  readonly places: number // [rows, 2]: page, slot in it
  readonly views: number // [rows, 3]
  readonly list: number
  readonly inOrder: number // 0, 1, 2, …
  readonly spans: readonly {
    readonly firstRow: number
    readonly rows: number
    readonly pages: number
    readonly numSlots: number
  }[]
}

export interface BatchShape extends HeadGeometry {
  readonly hidden: number
  readonly gateWidth: number
  readonly expertBlocks: number // of a row that experts read rounded; 0: they read float32
}

/** A step's rows, span after span. */
export interface BatchRows {
  readonly spans: readonly AttentionSpan[]
  readonly x: Float32Array // [rows, hidden]: embeddings
  readonly tables: Float32Array // [rows, headDim]
}

/** Cuts a step's rows into about equal micro-batches; later ones may see keys and values of earlier ones. */
export function splitRows({ spans, x, tables }: BatchRows, count: number): BatchRows[] {
  const numRows = spans.reduce((sum, { views }) => sum + views.length, 0)
  return cut(numRows, count).map(({ first, size }) => ({
    spans: sliceSpans(spans, first, first + size),
    x: sliceRows(x, numRows, first, size),
    tables: sliceRows(tables, numRows, first, size),
  }))
}

const sliceRows = (values: Float32Array, numRows: number, first: number, size: number): Float32Array =>
  values.subarray((first * values.length) / numRows, ((first + size) * values.length) / numRows)

/** The rows from … to-1 of spans, as spans. */
export function sliceSpans<S extends Pick<AttentionSpan, 'views' | 'slots'>>(
  spans: readonly S[],
  from: number,
  to: number,
): S[] {
  let firstRow = 0
  return spans.flatMap((span) => {
    const { views, slots } = span
    const [first, end] = [Math.max(0, from - firstRow), Math.min(views.length, to - firstRow)]
    firstRow += views.length
    if (first >= end) return []
    return [{ ...span, views: views.slice(first, end), slots: Array.from(slots).slice(first, end) }]
  })
}

/** Takes room for a batch and fills in what all layers share; `room` is the step's own, from its start. */
export function layOutBatch(kernels: Kernels, room: Room, shape: BatchShape, batch: BatchRows): AttentionBatch {
  const { hidden, numHeads, numKvHeads, headDim, gateWidth, expertBlocks } = shape
  const rows = batch.x.length / hidden
  const attendedWidth = numHeads * headDim
  const blocks = Math.ceil(Math.max(hidden, attendedWidth) / BLOCK_SIZE)
  const floats = (width: number): number => room.take(rows * wholeTiles(width) * 4)
  room.reset()
  return {
    rows,
    h: placeFloats(kernels, room, batch.x),
    delta: floats(hidden),
    n: floats(hidden),
    projected: floats(hidden),
    qkv: floats((numHeads + 2 * numKvHeads) * headDim),
    attended: floats(attendedWidth),
    rounded: room.take(rows * roundedBytes(blocks)),
    gate: floats(gateWidth),
    forExperts: expertBlocks === 0 ? 0 : room.take(rows * roundedBytes(expertBlocks)),
    tables: placeFloats(kernels, room, batch.tables),
    places: placeInts(
      kernels,
      room,
      batch.spans.flatMap(({ slots, pages }) => placesOf(slots, pages)),
    ),
    ...placeViews(kernels, room, batch.spans),
    inOrder: placeInts(
      kernels,
      room,
      Array.from({ length: rows }, (_, row) => row),
    ),
    spans: placeSpans(kernels, room, batch.spans, numHeads / numKvHeads),
  }
}

const wholeTiles = (width: number): number => Math.ceil(width / TILE) * TILE

const placesOf = (slots: ArrayLike<number>, pages: readonly number[]): number[] =>
  Array.from(slots).flatMap((slot) => [pages[Math.floor(slot / PAGE_SLOTS)] ?? 0, slot % PAGE_SLOTS])

function placeViews(kernels: Kernels, room: Room, spans: readonly AttentionSpan[]) {
  const views: number[] = []
  const list: number[] = []
  for (const { prefix, more } of spans.flatMap((span) => span.views)) {
    views.push(prefix, list.length, more.length)
    list.push(...more)
  }
  return { views: placeInts(kernels, room, views), list: placeInts(kernels, room, list) }
}

const VECTOR_SLOTS = 16 // that a kernel scores at once
const SCORE_BYTES = 2 ** 19 // of a task at most, where one row allows it: they stay in a core's cache
const PIECE_ROWS = 32 // at most: early rows skip late slots

/** Spans in pieces of a few rows, each as long as its rows see. */
function placeSpans(kernels: Kernels, room: Room, spans: readonly AttentionSpan[], group: number) {
  let firstRow = 0
  return spans.flatMap(({ views, pages }) => {
    const placed = placeInts(kernels, room, pages)
    const size = rowsOfPiece(group * numSlotsOf(views) * 4)
    const pieces = Array.from({ length: Math.ceil(views.length / size) }, (_, i) => {
      const some = views.slice(i * size, (i + 1) * size)
      return { firstRow: firstRow + i * size, rows: some.length, pages: placed, numSlots: numSlotsOf(some) }
    })
    firstRow += views.length
    return pieces
  })
}

function rowsOfPiece(scoreBytesOfRow: number): number {
  const rows = Math.max(1, Math.min(PIECE_ROWS, Math.floor(SCORE_BYTES / scoreBytesOfRow)))
  return rows < 8 ? rows : rows & ~7 // whole blocks of queries
}

function numSlotsOf(views: readonly RowView[]): number {
  const end = views.reduce((most, { prefix, more }) => Math.max(most, prefix, (more.at(-1) ?? -1) + 1), 0)
  return Math.ceil(end / VECTOR_SLOTS) * VECTOR_SLOTS
}
