// What the rows of a step see, as `kernels/attention.ts` reads it. Spans are cut into pieces of a few rows, each as long
// as its rows see.
//
// A window counts positions: a row at position p sees those above p - window. Committed slots are in position order from
// 0, and the entries of a row's list are the positions from its prefix on, so that a window cuts either from below.
//
// Invariants
//   SS1  Pages before the windows of all rows of a piece are left out of it; what a row sees weighs the same with them.

import type { AttentionSpan, RowView } from './attention-batch.js'
import type { Kernels } from './kernels.js'
import { PAGE_SLOTS } from './kv-layout.js'
import { placeInts, type Room } from './room.js'

/** Addresses of what rows see, all rows of the batch one after the other. */
export interface SeenSlots {
  readonly views: number // [rows, 4]: first slot, prefix, first entry and number of entries of the list
  readonly list: number
  readonly pieces: readonly SeenPiece[]
}

/** Rows of one sequence that attend together; their slots count from the first of `pages`. */
export interface SeenPiece {
  readonly firstRow: number
  readonly rows: number
  readonly pages: number
  readonly numSlots: number
}

interface SeenRow extends RowView {
  readonly first: number
}

const VECTOR_SLOTS = 16 // that a kernel scores at once
const SCORE_BYTES = 2 ** 19 // of a task at most, where one row allows it: they stay in a core's cache
const PIECE_ROWS = 32 // at most: early rows skip late slots

/** Room for what rows see through a window; `group` queries of a row attend together. */
export function placeSeen(
  kernels: Kernels,
  room: Room,
  spans: readonly AttentionSpan[],
  { window, group }: { readonly window: number; readonly group: number },
): SeenSlots {
  const words: number[] = []
  const list: number[] = []
  let firstRow = 0
  const pieces = spans.flatMap(({ views, pages }) => {
    const placed = placeInts(kernels, room, pages)
    const rows = views.map((view) => through(window, view))
    const mostSlots = Math.min(endOf(rows), window + PIECE_ROWS + PAGE_SLOTS)
    const size = rowsOfPiece(group * mostSlots * 4)
    const cuts = Array.from({ length: Math.ceil(rows.length / size) }, (_, i) => rows.slice(i * size, (i + 1) * size))
    return cuts.map((piece): SeenPiece => {
      const hidden = Math.floor(Math.min(...piece.map(({ first }) => first)) / PAGE_SLOTS) // pages
      const from = hidden * PAGE_SLOTS
      for (const { first, prefix, more } of piece) {
        words.push(first - from, prefix - from, list.length, more.length)
        for (const slot of more) list.push(slot - from)
      }
      firstRow += piece.length
      const numSlots = endOf(piece) - from
      return { firstRow: firstRow - piece.length, rows: piece.length, pages: placed + hidden * 4, numSlots }
    })
  })
  return { views: placeInts(kernels, room, words), list: placeInts(kernels, room, list), pieces }
}

function through(window: number, { prefix, more }: RowView): SeenRow {
  const first = Math.max(0, prefix + more.length - window)
  if (first <= prefix) return { first, prefix, more }
  return { first: prefix, prefix, more: more.slice(first - prefix) }
}

function rowsOfPiece(scoreBytesOfRow: number): number {
  const rows = Math.max(1, Math.min(PIECE_ROWS, Math.floor(SCORE_BYTES / scoreBytesOfRow)))
  return rows < 8 ? rows : rows & ~7 // whole blocks of queries
}

function endOf(rows: readonly RowView[]): number {
  const end = rows.reduce((most, { prefix, more }) => Math.max(most, prefix, (more.at(-1) ?? -1) + 1), 0)
  return Math.ceil(end / VECTOR_SLOTS) * VECTOR_SLOTS
}
