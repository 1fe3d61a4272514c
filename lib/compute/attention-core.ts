// Attention over pages of keys and values, made of parts whose bits do not depend on the number of rows: per page
// q · kᵀ, then mask → max → exp over all pages of a sequence, per page p · [v | 1], the pages added in order, divide. The
// column of ones makes the same product reduce numerator and denominator, so masked slots add exact zeros to both.
//
// Two graphs give the same bits: one for many rows of one sequence (prefill, trees), one for single rows of many
// sequences (decoding), so that a batch costs one run.
//
// Invariants
//   K1  A page is one block of the engine's sum over p · v, or several: a row's slot must lie in the EXACT_BLOCK of its
//       position (`lib/speculative/tail-layout`), else plain and tree decoding round differently.
//   K2  One thread: with more the engine cuts the product differently from size to size.
//   K3  At least two query rows per KV head: one row takes another kernel.
//   K4  Every page has PAGE_SLOTS slots, used or not: the shape of a page's products never changes.

import { GraphBuilder, type BuiltGraph } from './graph.js'
import { createSession, type Matrix, type Session } from './session.js'

/** Slots of a page of the KV cache: a multiple of EXACT_BLOCK. */
export const PAGE_SLOTS = 128

/** Pages that one run takes at most for single rows: bounds the number of graphs and of their inputs. */
const MAX_BATCH_PAGES = 32

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

/** Rows of one sequence. */
export interface AttentionCall {
  readonly rows: number
  readonly q: Float32Array // [rows, heads * headDim]
  readonly mask: Float32Array // [rows, pages * PAGE_SLOTS], 0 or -Infinity
  readonly pages: readonly KvPage[]
}

export interface AttentionCore {
  /** Returns the rows of all calls, one call after another: [rows, heads * headDim]. */
  attend(calls: readonly AttentionCall[]): Float32Array
  dispose(): void
}

/** Sessions over run-time pages, by shape; they hold no weights, so all layers of a geometry share them. */
export function createAttentionCore(geometry: HeadGeometry): AttentionCore {
  const sessions = new Map<string, Session>()
  const sessionOf = (key: string, build: () => BuiltGraph): Session => {
    const session = sessions.get(key) ?? createSession(build())
    sessions.set(key, session)
    return session
  }
  const isWide = geometry.numHeads / geometry.numKvHeads >= 2 // else a single row is run as two (K3)
  const attendRows = (call: AttentionCall): Float32Array => {
    const numPages = call.pages.length
    const session = sessionOf(`rows/${numPages}`, () => buildRows(geometry, numPages))
    const { y } = session.run(rowsInputs(geometry, call))
    return y ?? new Float32Array(0)
  }
  const attendSingles = (calls: readonly AttentionCall[]): Float32Array => {
    const numPages = calls[0]?.pages.length ?? 0
    const session = sessionOf(`singles/${calls.length}/${numPages}`, () =>
      buildSingles(geometry, calls.length, numPages),
    )
    const { y } = session.run(singlesInputs(geometry, calls))
    return y ?? new Float32Array(0)
  }
  const attendOne = (call: AttentionCall): Float32Array =>
    call.rows === 1 ? firstHalf(attendRows(twice(call))) : attendRows(call)
  return {
    attend: (calls) => {
      const parts: Float32Array[] = []
      for (let i = 0; i < calls.length;) {
        const call = calls[i]!
        const batch = isWide && call.rows === 1 ? batchFrom(calls, i) : undefined
        parts.push(batch === undefined ? attendOne(call) : attendSingles(batch))
        i += batch?.length ?? 1
      }
      return joined(parts)
    },
    dispose: () => {
      for (const session of sessions.values()) session.dispose()
    },
  }
}

/** The longest run of single rows over equally many pages from `first`, cut to a power of two: few shapes, few graphs. */
function batchFrom(calls: readonly AttentionCall[], first: number): readonly AttentionCall[] {
  const numPages = calls[first]?.pages.length ?? 0
  const most = Math.max(1, Math.floor(MAX_BATCH_PAGES / numPages))
  let size = 1
  const isAlike = (call: AttentionCall | undefined): boolean => call?.rows === 1 && call.pages.length === numPages
  while (
    size * 2 <= most &&
    calls.slice(first + size, first + size * 2).every(isAlike) &&
    first + size * 2 <= calls.length
  ) {
    size *= 2
  }
  return calls.slice(first, first + size)
}

function rowsInputs({ numHeads, numKvHeads, headDim }: HeadGeometry, { rows, q, mask, pages }: AttentionCall) {
  const inputs: Record<string, Matrix> = {
    q: { data: q, dims: [rows, numHeads * headDim] },
    mask: { data: mask, dims: [rows, 1, pages.length * PAGE_SLOTS] },
  }
  pages.forEach(({ keys, values }, page) => {
    inputs[`k${page}`] = { data: keys, dims: [numKvHeads, PAGE_SLOTS, headDim] }
    inputs[`v${page}`] = { data: values, dims: [numKvHeads, PAGE_SLOTS, headDim + 1] }
  })
  return inputs
}

function singlesInputs({ numHeads, numKvHeads, headDim }: HeadGeometry, calls: readonly AttentionCall[]) {
  const numPages = calls[0]?.pages.length ?? 0
  const inputs: Record<string, Matrix> = {
    q: { data: joined(calls.map(({ q }) => q)), dims: [calls.length, numKvHeads, numHeads / numKvHeads, headDim] },
    mask: { data: joined(calls.map(({ mask }) => mask)), dims: [calls.length, numPages, 1, 1, PAGE_SLOTS] },
  }
  calls.forEach(({ pages }, call) => {
    pages.forEach(({ keys, values }, page) => {
      inputs[`k${call * numPages + page}`] = { data: keys, dims: [1, numKvHeads, PAGE_SLOTS, headDim] }
      inputs[`v${call * numPages + page}`] = { data: values, dims: [1, numKvHeads, PAGE_SLOTS, headDim + 1] }
    })
  })
  return inputs
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const [first = new Float32Array(0)] = parts
  if (parts.length === 1) return first
  const result = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    result.set(part, offset)
    offset += part.length
  }
  return result
}

function twice(call: AttentionCall): AttentionCall {
  return { ...call, rows: 2, q: joined([call.q, call.q]), mask: joined([call.mask, call.mask]) }
}

const firstHalf = (both: Float32Array): Float32Array => both.subarray(0, both.length / 2)

/** Many rows of one sequence. */
function buildRows(geometry: HeadGeometry, numPages: number): BuiltGraph {
  const { numHeads, numKvHeads, headDim } = geometry
  const graph = new GraphBuilder()
  const group = numHeads / numKvHeads
  const slots = numPages * PAGE_SLOTS
  const q = headsFirst(graph, graph.input('q', ['rows', numHeads * headDim]), geometry)
  const mask = graph.input('mask', ['rows', 1, slots])
  const perPage = Array.from({ length: numPages }, (_, page) =>
    scoresOf(graph, q, graph.input(`k${page}`, [numKvHeads, PAGE_SLOTS, headDim]), headDim),
  )
  const scores = graph.node('Reshape', [concat(graph, perPage, 2), graph.constantInt64([numKvHeads, -1, group, slots])])
  const weights = graph.node('Reshape', [
    softWeights(graph, scores, mask, [3]),
    graph.constantInt64([numKvHeads, -1, slots]),
  ])
  const products = cutEvenly(graph, weights, { axis: 2, size: PAGE_SLOTS, count: numPages }).map((part, page) =>
    graph.node('MatMul', [part, graph.input(`v${page}`, [numKvHeads, PAGE_SLOTS, headDim + 1])]),
  )
  const y = divided(graph, sumOf(graph, products), headDim, 2)
  graph.output(rowsFirst(graph, y, geometry), 'y', ['rows', numHeads * headDim])
  return graph.build('attention')
}

/** One row each of `numCalls` sequences over `numPages` pages each. */
function buildSingles({ numHeads, numKvHeads, headDim }: HeadGeometry, numCalls: number, numPages: number): BuiltGraph {
  const graph = new GraphBuilder()
  const group = numHeads / numKvHeads
  const all = numCalls * numPages
  const q = cutEvenly(graph, graph.input('q', [numCalls, numKvHeads, group, headDim]), {
    axis: 0,
    size: 1,
    count: numCalls,
  })
  const mask = graph.input('mask', [numCalls, numPages, 1, 1, PAGE_SLOTS])
  const perPage = Array.from({ length: all }, (_, page) =>
    scoresOf(
      graph,
      q[Math.floor(page / numPages)] ?? '',
      graph.input(`k${page}`, [1, numKvHeads, PAGE_SLOTS, headDim]),
      headDim,
    ),
  )
  const byCall = graph.constantInt64([numCalls, numPages, numKvHeads, group, PAGE_SLOTS])
  const scores = graph.node('Reshape', [concat(graph, perPage, 0), byCall])
  const byPage = graph.constantInt64([all, numKvHeads, group, PAGE_SLOTS])
  const weights = graph.node('Reshape', [softWeights(graph, scores, mask, [1, 4]), byPage])
  const products = cutEvenly(graph, weights, { axis: 0, size: 1, count: all }).map((part, page) =>
    graph.node('MatMul', [part, graph.input(`v${page}`, [1, numKvHeads, PAGE_SLOTS, headDim + 1])]),
  )
  const perCall = Array.from({ length: numCalls }, (_, call) =>
    sumOf(graph, products.slice(call * numPages, (call + 1) * numPages)),
  )
  const y = divided(graph, concat(graph, perCall, 0), headDim, 3)
  graph.output(y, 'y', [numCalls, numKvHeads, group, headDim])
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

/** q · kᵀ / √headDim of one page. */
const scoresOf = (graph: GraphBuilder, q: string, k: string, headDim: number): string =>
  graph.node('FusedMatMul', [q, k], {
    domain: 'com.microsoft',
    attributes: { alpha: { float: 1 / Math.sqrt(headDim) }, transB: 1 },
  })

/** exp(scores + mask - max), the maximum over `axes`. */
function softWeights(graph: GraphBuilder, scores: string, mask: string, axes: readonly number[]): string {
  const masked = graph.node('Add', [scores, mask])
  const best = graph.node('ReduceMax', [masked, graph.constantInt64(axes)], { attributes: { keepdims: 1 } })
  return graph.node('Exp', [graph.node('Sub', [masked, best])])
}

/** Numerator over denominator: [… , headDim + 1] → [… , headDim]. */
function divided(graph: GraphBuilder, sums: string, headDim: number, axis: number): string {
  const [numerator = '', denominator = ''] = graph.nodeWith('Split', [sums, graph.constantInt64([headDim, 1])], {
    attributes: { axis },
    outputs: 2,
  })
  return graph.node('Div', [numerator, denominator])
}

const sumOf = (graph: GraphBuilder, parts: readonly string[]): string =>
  parts.reduce((sum, part) => graph.node('Add', [sum, part]))

const concat = (graph: GraphBuilder, parts: readonly string[], axis: number): string =>
  parts.length === 1 ? (parts[0] ?? '') : graph.node('Concat', parts, { attributes: { axis } })

interface Cut {
  readonly axis: number
  readonly size: number
  readonly count: number
}

function cutEvenly(graph: GraphBuilder, value: string, { axis, size, count }: Cut): readonly string[] {
  if (count === 1) return [value]
  const sizes = graph.constantInt64(Array<number>(count).fill(size))
  return graph.nodeWith('Split', [value, sizes], { attributes: { axis }, outputs: count })
}
