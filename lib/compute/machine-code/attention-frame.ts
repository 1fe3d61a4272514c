// What the parts of attention's machine code share: the task's words, the stack frame, loops over pages and queries.
//
// The thread's scratch: per query its scores [numSlots, and a tile for the sink], per query its sums [valueDim, whole
// tiles], per query an address, later its total.

import { at } from './addressing.js'
import { REGISTER, type Assembler } from './assembler.js'
import { countUp, ofFrame, ofTask, ROLE, type RowSum, type VectorUnit } from './code-frame.js'

/** Bytes of a task's words: `Attention` in `kernels/attention.ts`. */
export const ATTENTION = {
  widths: 4,
  q: 8,
  qStride: 12,
  rows: 16,
  group: 20,
  keys: 24,
  values: 28,
  pages: 32,
  numSlots: 36,
  views: 40,
  list: 44,
  sinks: 48,
  y: 52,
  yStride: 56,
} as const

/** Bytes of its `HeadWidths`. */
export const WIDTHS = { headDim: 0, valueDim: 4, queryBytes: 8 } as const

/** The frame: 64-bit addresses, then 32-bit numbers, then a vector. */
export const FRAME = {
  scores: 0, // of the first query
  sums: 8,
  addresses: 16,
  page: 24, // address of a page's keys or values
  numQueries: 32,
  rowBytes: 36, // of a query's scores, its sink included
  sumBytes: 40,
  slot: 44, // first of the page
  slots: 48, // of the page
  query: 52,
  column: 56,
  row: 60,
  slotBytes: 64, // of a query's scores without its sink
  headDim: 68,
  valueDim: 72,
  queryBytes: 76,
  lanes: 96,
} as const
export const FRAME_BYTES = 160

const PAGE_SLOTS_LOG2 = 7
const { ax } = REGISTER

export interface AttentionCode {
  readonly a: Assembler
  readonly unit: VectorUnit
  readonly parts: number
  readonly isHalf: boolean // pages hold float16 numbers
}

/** Queries that are computed together, largest first. */
const queryCounts = ({ vectorBytes }: VectorUnit): readonly number[] => (vectorBytes === 64 ? [8, 4, 2, 1] : [4, 2, 1])

/** Blocks of queries; `query` in the frame counts them. */
export function forQueries({ a, unit }: AttentionCode, write: (queries: number) => void): void {
  const loop = { counter: ofFrame(FRAME.query), limit: ofFrame(FRAME.numQueries), steps: queryCounts(unit) }
  countUp(a, loop, write)
}

/** Page after page all blocks of queries: a page comes from memory once. */
export function forPages(code: AttentionCode, part: number, write: (queries: number) => void): void {
  const { a } = code
  const [again, isWhole] = [a.label(), a.label()]
  a.moveImmediate(ax, 0n)
  a.store32(ofFrame(FRAME.slot), ax)
  a.bind(again)
  a.shiftRight(ax, PAGE_SLOTS_LOG2)
  a.shiftLeft(ax, 2)
  a.add32(ax, ofTask(ATTENTION.pages))
  a.load32(ax, at(ROLE.memory, 0, ax))
  a.add32(ax, ofTask(part))
  a.add(ax, ROLE.memory)
  a.store(ofFrame(FRAME.page), ax)
  a.load32(ax, ofTask(ATTENTION.numSlots))
  a.subtract32(ax, ofFrame(FRAME.slot))
  a.compareImmediate32(ax, 1 << PAGE_SLOTS_LOG2)
  a.jumpIf('less', isWhole)
  a.moveImmediate(ax, BigInt(1 << PAGE_SLOTS_LOG2))
  a.bind(isWhole)
  a.store32(ofFrame(FRAME.slots), ax)
  forQueries(code, write)
  a.load32(ax, ofFrame(FRAME.slot))
  a.addImmediate(ax, 1 << PAGE_SLOTS_LOG2)
  a.store32(ofFrame(FRAME.slot), ax)
  a.compare32(ax, ofTask(ATTENTION.numSlots))
  a.jumpIf('less', again)
}

/** `to` = where the block's first query has its row of `rowBytes` in an area of the scratch. */
export function locateRow(a: Assembler, to: number, area: number, rowBytes: number): void {
  a.load32(to, ofFrame(FRAME.query))
  a.multiply32(to, ofFrame(rowBytes))
  a.add(to, ofFrame(area))
}

/** Vector registers of a block: per query `parts` sums, then what they are made of. */
export const sumsOf = (queries: number, parts: number): RowSum[] =>
  Array.from({ length: queries * parts }, (_, i) => ({ row: Math.floor(i / parts), part: i % parts, sum: i }))
