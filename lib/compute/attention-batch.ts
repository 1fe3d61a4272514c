// The operands of a step's attention in the engine's memory: set up once per step, read by every layer.

import type { Kernels } from './kernels.js'
import { PAGE_SLOTS } from './kv-layout.js'
import { roundedBytes } from './placed-linear.js'
import { cut, placeFloats, placeInts, type Room } from './room.js'
import { placeSeen, type SeenSlots } from './seen-slots.js'

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
  /** What a layer needs for itself; see `cutWork`. */
  readonly work: number
  readonly gate: number
  /** Normed rows as the experts' products read them; 0: they read `n`. */
  readonly forExperts: number
  readonly tables: readonly number[] // by kind of rotation: [rows, rotated]: cosines, sines
  readonly places: number // [rows, 2]: page, slot in it
  readonly seen: ReadonlyMap<number, SeenSlots> // by window
  readonly inOrder: number // 0, 1, 2, …
}

/** What a layer wants of a batch. */
export interface LayerNeeds {
  readonly workBytes: number // of a row
  readonly gateStride: number // floats of a row of gate logits
  readonly group: number // queries of a row that attend together
  readonly window: number // positions that a row sees; Infinity: all
}

export interface BatchShape extends Omit<LayerNeeds, 'window'> {
  readonly hidden: number
  readonly expertBlocks: number // of a row that experts read rounded; 0: they read float32
  readonly windows: readonly number[]
}

/** A batch that all these layers can run. */
export function batchShape(
  layers: readonly LayerNeeds[],
  row: Pick<BatchShape, 'hidden' | 'expertBlocks'>,
): BatchShape {
  const most = (of: (needs: LayerNeeds) => number): number => Math.max(...layers.map(of))
  return {
    ...row,
    workBytes: most(({ workBytes }) => workBytes),
    gateStride: most(({ gateStride }) => gateStride),
    group: most(({ group }) => group),
    windows: [...new Set(layers.map(({ window }) => window))],
  }
}

const CACHE_LINE = 64
const wholeLines = (numBytes: number): number => Math.ceil(numBytes / CACHE_LINE) * CACHE_LINE

/** Bytes of a row of operands that `cutWork` cuts. */
export const workBytes = (rowBytes: readonly number[]): number =>
  rowBytes.reduce((sum, bytes) => sum + wholeLines(bytes), 0)

/** Addresses of a layer's operands, each with rows of so many bytes. */
export function cutWork({ rows, work }: AttentionBatch, rowBytes: readonly number[]): number[] {
  const addresses: number[] = []
  let next = work
  for (const bytes of rowBytes) {
    addresses.push(next)
    next += rows * wholeLines(bytes)
  }
  return addresses
}

/** A step's rows, span after span. */
export interface BatchRows {
  readonly spans: readonly AttentionSpan[]
  readonly x: Float32Array // [rows, hidden]: embeddings
  readonly tables: readonly Float32Array[] // by kind of rotation: [rows, rotated]
}

/** Cuts a step's rows into about equal micro-batches; later ones may see keys and values of earlier ones. */
export function splitRows({ spans, x, tables }: BatchRows, count: number): BatchRows[] {
  const numRows = spans.reduce((sum, { views }) => sum + views.length, 0)
  return cut(numRows, count).map(({ first, size }) => ({
    spans: sliceSpans(spans, first, first + size),
    x: sliceRows(x, numRows, first, size),
    tables: tables.map((table) => sliceRows(table, numRows, first, size)),
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
  const { hidden, gateStride, expertBlocks, group } = shape
  const rows = batch.x.length / hidden
  const floats = (width: number): number => room.take(rows * width * 4)
  room.reset()
  return {
    rows,
    h: placeFloats(kernels, room, batch.x),
    delta: floats(hidden),
    n: floats(hidden),
    work: room.take(rows * shape.workBytes),
    gate: floats(gateStride),
    forExperts: expertBlocks === 0 ? 0 : room.take(rows * roundedBytes(expertBlocks)),
    tables: batch.tables.map((table) => placeFloats(kernels, room, table)),
    places: placeInts(
      kernels,
      room,
      batch.spans.flatMap(({ slots, pages }) => placesOf(slots, pages)),
    ),
    seen: new Map(shape.windows.map((window) => [window, placeSeen(kernels, room, batch.spans, { window, group })])),
    inOrder: placeInts(
      kernels,
      room,
      Array.from({ length: rows }, (_, row) => row),
    ),
  }
}

const placesOf = (slots: ArrayLike<number>, pages: readonly number[]): number[] =>
  Array.from(slots).flatMap((slot) => [pages[Math.floor(slot / PAGE_SLOTS)] ?? 0, slot % PAGE_SLOTS])
