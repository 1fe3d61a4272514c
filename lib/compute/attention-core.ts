// Attention over one sequence's pages of keys and values, made of parts whose bits do not depend on the number of rows:
// per page q · kᵀ, then mask → max → exp over all pages, per page p · [v | 1], the pages added in order, divide. The
// column of ones makes the same product reduce numerator and denominator, so masked slots add exact zeros to both.
//
// Invariants
//   K1  Inside a page the engine reduces p · v in blocks of EXACT_BLOCK slots (or a multiple): a row's slot must lie in
//       the block of its position (`lib/speculative/tail-layout`), else plain and tree decoding round differently.
//   K2  One thread: with more the engine cuts the product differently from size to size.
//   K3  At least two query rows per KV head: one row takes another kernel.
//   K4  Every page has PAGE_SLOTS slots, used or not: the shape of a page's products never changes.

import { GraphBuilder, type BuiltGraph } from './graph.js'
import { createSession, type Matrix, type Session } from './session.js'

/** Slots of a page of the KV cache: a multiple of EXACT_BLOCK. */
export const PAGE_SLOTS = 256

export interface HeadGeometry {
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
}

/** Keys and values of PAGE_SLOTS slots of one layer; the last column of a value row is one. */
export interface KvPage {
  readonly keys: Float32Array // [kvHeads, PAGE_SLOTS, headDim]
  readonly values: Float32Array // [kvHeads, PAGE_SLOTS, headDim + 1]
}

export interface AttentionCall {
  readonly rows: number
  readonly q: Float32Array // [rows, heads * headDim]
  readonly mask: Float32Array // [rows, pages * PAGE_SLOTS], 0 or -Infinity
  readonly pages: readonly KvPage[]
}

export interface AttentionCore {
  /** Returns [rows, heads * headDim]. */
  attend(call: AttentionCall): Float32Array
  dispose(): void
}

/** Sessions over run-time pages, one per number of pages; they hold no weights, so all layers of a geometry share them. */
export function createAttentionCore(geometry: HeadGeometry): AttentionCore {
  const sessions = new Map<string, Session>()
  const group = geometry.numHeads / geometry.numKvHeads
  const sessionFor = (numPages: number, isSingle: boolean): Session => {
    const key = `${numPages}/${isSingle}`
    const session = sessions.get(key) ?? createSession(buildCore(geometry, numPages, isSingle))
    sessions.set(key, session)
    return session
  }
  const attend = (call: AttentionCall): Float32Array => {
    const { y } = sessionFor(call.pages.length, call.rows === 1).run(inputsOf(geometry, call))
    return y ?? new Float32Array(0)
  }
  return {
    attend: (call) => (call.rows * group < 2 ? firstHalf(attend(twice(call))) : attend(call)),
    dispose: () => {
      for (const session of sessions.values()) session.dispose()
    },
  }
}

function inputsOf({ numHeads, numKvHeads, headDim }: HeadGeometry, call: AttentionCall): Record<string, Matrix> {
  const { rows, pages } = call
  const isSingle = rows === 1
  const inputs: Record<string, Matrix> = {
    q: { data: call.q, dims: isSingle ? [numKvHeads, numHeads / numKvHeads, headDim] : [rows, numHeads * headDim] },
    mask: { data: call.mask, dims: [rows, 1, pages.length * PAGE_SLOTS] },
  }
  pages.forEach(({ keys, values }, page) => {
    inputs[`k${page}`] = { data: keys, dims: [numKvHeads, PAGE_SLOTS, headDim] }
    inputs[`v${page}`] = { data: values, dims: [numKvHeads, PAGE_SLOTS, headDim + 1] }
  })
  return inputs
}

function twice(call: AttentionCall): AttentionCall {
  const doubled = (row: Float32Array): Float32Array => {
    const result = new Float32Array(row.length * 2)
    result.set(row)
    result.set(row, row.length)
    return result
  }
  return { ...call, rows: 2, q: doubled(call.q), mask: doubled(call.mask) }
}

const firstHalf = (both: Float32Array): Float32Array => both.subarray(0, both.length / 2)

function buildCore(geometry: HeadGeometry, numPages: number, isSingle: boolean): BuiltGraph {
  const { numHeads, numKvHeads, headDim } = geometry
  const graph = new GraphBuilder()
  const group = numHeads / numKvHeads
  const width = numHeads * headDim
  const given = graph.input('q', isSingle ? [numKvHeads, group, headDim] : ['rows', width])
  const q = isSingle ? given : headsFirst(graph, given, geometry)
  const mask = graph.input('mask', [isSingle ? 1 : 'rows', 1, numPages * PAGE_SLOTS])
  const scores = scoresOf(graph, { q, numPages, geometry })
  const weights = isSingle ? softWeights(graph, scores, mask) : maskedByRow(graph, { scores, mask, geometry, numPages })
  const sums = sumsOf(graph, { weights, numPages, geometry })
  const [numerator = '', denominator = ''] = graph.nodeWith('Split', [sums, graph.constantInt64([headDim, 1])], {
    attributes: { axis: 2 },
    outputs: 2,
  })
  const y = graph.node('Div', [numerator, denominator])
  graph.output(
    isSingle ? y : rowsFirst(graph, y, geometry),
    'y',
    isSingle ? [numKvHeads, group, headDim] : ['rows', width],
  )
  return graph.build('attention')
}

/** [rows, heads * headDim] → [kvHeads, rows * group, headDim]: the query heads of one row lie together. */
function headsFirst(graph: GraphBuilder, q: string, { numHeads, numKvHeads, headDim }: HeadGeometry): string {
  const split = graph.node('Reshape', [q, graph.constantInt64([-1, numKvHeads, numHeads / numKvHeads, headDim])])
  const turned = graph.node('Transpose', [split], { attributes: { perm: [1, 0, 2, 3] } })
  return graph.node('Reshape', [turned, graph.constantInt64([numKvHeads, -1, headDim])])
}

/** The way back: [kvHeads, rows * group, headDim] → [rows, heads * headDim]. */
function rowsFirst(graph: GraphBuilder, y: string, { numHeads, numKvHeads, headDim }: HeadGeometry): string {
  const split = graph.node('Reshape', [y, graph.constantInt64([numKvHeads, -1, numHeads / numKvHeads, headDim])])
  const turned = graph.node('Transpose', [split], { attributes: { perm: [1, 0, 2, 3] } })
  return graph.node('Reshape', [turned, graph.constantInt64([-1, numHeads * headDim])])
}

/** q · kᵀ / √headDim over all pages: [kvHeads, rows * group, pages * PAGE_SLOTS]. */
function scoresOf(
  graph: GraphBuilder,
  { q, numPages, geometry }: { q: string; numPages: number; geometry: HeadGeometry },
) {
  const { numKvHeads, headDim } = geometry
  const perPage = Array.from({ length: numPages }, (_, page) =>
    graph.node('FusedMatMul', [q, graph.input(`k${page}`, [numKvHeads, PAGE_SLOTS, headDim])], {
      domain: 'com.microsoft',
      attributes: { alpha: { float: 1 / Math.sqrt(headDim) }, transB: 1 },
    }),
  )
  return numPages === 1 ? (perPage[0] ?? '') : graph.node('Concat', perPage, { attributes: { axis: 2 } })
}

/** exp(scores + mask - max) along the last axis. */
function softWeights(graph: GraphBuilder, scores: string, mask: string): string {
  const masked = graph.node('Add', [scores, mask])
  const best = graph.node('ReduceMax', [masked, graph.constantInt64([-1])], { attributes: { keepdims: 1 } })
  return graph.node('Exp', [graph.node('Sub', [masked, best])])
}

interface Scores {
  readonly scores: string
  readonly mask: string
  readonly geometry: HeadGeometry
  readonly numPages: number
}

/** The same where every row has a mask of its own, for all query heads of a group. */
function maskedByRow(graph: GraphBuilder, { scores, mask, geometry, numPages }: Scores): string {
  const { numHeads, numKvHeads } = geometry
  const slots = numPages * PAGE_SLOTS
  const byRow = graph.node('Reshape', [scores, graph.constantInt64([numKvHeads, -1, numHeads / numKvHeads, slots])])
  return graph.node('Reshape', [softWeights(graph, byRow, mask), graph.constantInt64([numKvHeads, -1, slots])])
}

/** Σ over pages, in their order, of p · [v | 1]: [kvHeads, rows * group, headDim + 1]. */
function sumsOf(
  graph: GraphBuilder,
  { weights, numPages, geometry }: { weights: string; numPages: number; geometry: HeadGeometry },
) {
  const { numKvHeads, headDim } = geometry
  const sizes = graph.constantInt64(Array<number>(numPages).fill(PAGE_SLOTS))
  const parts =
    numPages === 1
      ? [weights]
      : graph.nodeWith('Split', [weights, sizes], { attributes: { axis: 2 }, outputs: numPages })
  const products = parts.map((part, page) =>
    graph.node('MatMul', [part, graph.input(`v${page}`, [numKvHeads, PAGE_SLOTS, headDim + 1])]),
  )
  return products.reduce((sum, product) => graph.node('Add', [sum, product]))
}
