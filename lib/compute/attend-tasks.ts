// Tasks of attention over pages (`kernels/attention.ts`), and what its threads need for them.

import { ClusterError } from '../errors.js'
import type { AttentionBatch } from './attention-batch.js'
import { OP, type Kernels } from './kernels.js'
import { PAGE_SLOTS, type KvGeometry } from './kv-layout.js'
import { kvNumberBytes, type KvFormat } from '../model/kv-formats.js'
import type { SeenPiece } from './seen-slots.js'

/** Query heads of one KV head, and where they lie in a row of queries and a row of results. */
export interface HeadGroup {
  readonly kvHead: number
  readonly firstHead: number
  readonly numHeads: number
}

export interface AttendShape extends KvGeometry {
  readonly groups: readonly HeadGroup[]
  readonly format: KvFormat // of the pages
  readonly queryBytes: number // from a query head to the next
  /** The kernel's `HeadWidths`. */
  readonly widths: number
  readonly sinks: number // address of a score per query head; 0: none
  readonly window: number
  /** Bytes from a page's address to this layer's part. */
  readonly pageOffset: number
}

/** Rows of queries and of results, all heads of a row one after the other. All addresses. */
export interface AttendRows {
  readonly q: number
  readonly qStride: number
  readonly y: number
  readonly yStride: number
}

/** The words of `HeadWidths`. */
export const widthWords = ({ headDim, valueDim }: KvGeometry, queryBytes: number): readonly number[] => [
  headDim,
  valueDim,
  queryBytes,
]

/** Attention of every piece and group of heads; reserves what the threads need. */
export function addAttention(kernels: Kernels, batch: AttentionBatch, shape: AttendShape, rows: AttendRows): void {
  const { numKvHeads, headDim, valueDim, groups, pageOffset, window } = shape
  const seen = batch.seen.get(window)
  if (seen === undefined) throw new ClusterError('internal', `batch: want the window ${window}`)
  const slotBytes = PAGE_SLOTS * kvNumberBytes(shape.format) // of one dimension
  const [keyBytes, valueBytes] = [headDim * slotBytes, valueDim * slotBytes]
  kernels.reserveThreadScratch(scratchBytes(seen.pieces, shape))
  for (const piece of seen.pieces) {
    for (const { kvHead, firstHead, numHeads } of groups) {
      kernels.task(
        shape.format === 'f16' ? OP.attendHalves : OP.attend,
        shape.widths,
        rows.q + piece.firstRow * rows.qStride + firstHead * shape.queryBytes,
        rows.qStride,
        piece.rows,
        numHeads,
        pageOffset + kvHead * keyBytes,
        pageOffset + numKvHeads * keyBytes + kvHead * valueBytes,
        piece.pages,
        piece.numSlots,
        seen.views + piece.firstRow * VIEW_BYTES,
        seen.list,
        shape.sinks === 0 ? 0 : shape.sinks + firstHead * 4,
        rows.y + piece.firstRow * rows.yStride + firstHead * valueDim * 4,
        rows.yStride,
      )
    }
  }
}

function scratchBytes(pieces: readonly SeenPiece[], { groups, valueDim }: AttendShape): number {
  let most = 0
  for (const { rows, numSlots } of pieces) {
    for (const { numHeads } of groups) most = Math.max(most, rows * numHeads * queryScratch(numSlots, valueDim))
  }
  return most
}

const VIEW_BYTES = 16
const SINK_BYTES = 64

/** What a thread needs for a query: its scores, its sums of values and an address. */
const queryScratch = (numSlots: number, valueDim: number): number =>
  numSlots * 4 + SINK_BYTES + Math.ceil(valueDim / 16) * 64 + 8
