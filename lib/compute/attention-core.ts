// Attention over one sequence's cache, made of parts whose bits do not depend on the number of rows: per KV head
// Gemm(q, k, mask) → max → exp → p · [v | 1] → divide. The column of ones makes the same product reduce numerator and
// denominator, so masked slots add exact zeros to both.
//
// Invariants
//   K1  The engine reduces p · v in blocks of EXACT_BLOCK slots (or a multiple): a row's slot must lie in the block of
//       its position (`lib/speculative/tail-layout`), else plain and tree decoding round differently.
//   K2  One thread: with more the engine cuts the product differently from size to size.
//   K3  At least two query rows per KV head: one row takes another kernel.

import { GraphBuilder } from './graph.js'
import { createSession, type Matrix, type Session } from './session.js'

export interface HeadGeometry {
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
}

export interface AttentionCore {
  /**
   * q [rows, heads * headDim], mask [rows, slots] (0 or -Infinity), per KV head k [slots, headDim] and
   * v [slots, headDim + 1] whose last column is one. Returns [rows, heads * headDim].
   */
  attend(call: AttentionCall): Promise<Float32Array>
  dispose(): Promise<void>
}

export interface AttentionCall {
  readonly rows: number
  readonly slots: number
  readonly q: Float32Array
  readonly mask: Float32Array
  readonly keys: readonly Float32Array[] // per KV head, at least slots * headDim values
  readonly values: readonly Float32Array[] // per KV head, at least slots * (headDim + 1) values
}

/** A session over run-time keys and values; it holds no weights, so every layer of one geometry shares it. */
export async function createAttentionCore(geometry: HeadGeometry): Promise<AttentionCore> {
  const session = await createSession(buildCore(geometry))
  const group = geometry.numHeads / geometry.numKvHeads
  return {
    attend: (call) => (call.rows * group < 2 ? attendPadded(session, geometry, call) : attend(session, geometry, call)),
    dispose: () => session.dispose(),
  }
}

async function attend(
  session: Session,
  { numHeads, headDim }: HeadGeometry,
  call: AttentionCall,
): Promise<Float32Array> {
  const { rows, slots } = call
  const inputs: Record<string, Matrix> = {
    q: { data: call.q, dims: [rows, numHeads * headDim] },
    mask: { data: call.mask, dims: [rows, slots] },
  }
  call.keys.forEach((data, head) => {
    inputs[`k${head}`] = { data: data.subarray(0, slots * headDim), dims: [slots, headDim] }
  })
  call.values.forEach((data, head) => {
    inputs[`v${head}`] = { data: data.subarray(0, slots * (headDim + 1)), dims: [slots, headDim + 1] }
  })
  const { y } = await session.run(inputs)
  return y ?? new Float32Array(0)
}

async function attendPadded(session: Session, geometry: HeadGeometry, call: AttentionCall): Promise<Float32Array> {
  const twice = (row: Float32Array): Float32Array => {
    const result = new Float32Array(row.length * 2)
    result.set(row)
    result.set(row, row.length)
    return result
  }
  const both = await attend(session, geometry, { ...call, rows: 2, q: twice(call.q), mask: twice(call.mask) })
  return both.subarray(0, both.length / 2)
}

function buildCore({ numHeads, numKvHeads, headDim }: HeadGeometry): Uint8Array {
  const graph = new GraphBuilder()
  const group = numHeads / numKvHeads
  const q = graph.input('q', ['rows', numHeads * headDim])
  const mask = expandMask(graph, graph.input('mask', ['rows', 'slots']), group)
  const heads = graph.nodeWith('Split', [q, graph.constantInt64(Array<number>(numKvHeads).fill(group * headDim))], {
    attributes: { axis: 1 },
    outputs: numKvHeads,
  })
  const outputs = heads.map((head, i) => {
    const k = graph.input(`k${i}`, ['slots', headDim])
    const v = graph.input(`v${i}`, ['slots', headDim + 1])
    return attendHead(graph, { q: head, k, v, mask }, headDim, group)
  })
  const y = outputs.length === 1 ? (outputs[0] ?? '') : graph.node('Concat', outputs, { attributes: { axis: 1 } })
  graph.output(y, 'y', ['rows', numHeads * headDim])
  return graph.build('attention')
}

/** [rows, slots] → [rows * group, slots]: the query heads of one row lie together. */
function expandMask(graph: GraphBuilder, mask: string, group: number): string {
  if (group === 1) return mask
  const shape = graph.node('Shape', [mask])
  const rows = graph.node('Slice', [shape, graph.constantInt64([0]), graph.constantInt64([1])])
  const slots = graph.node('Slice', [shape, graph.constantInt64([1]), graph.constantInt64([2])])
  const wide = graph.node('Concat', [rows, graph.constantInt64([group]), slots], { attributes: { axis: 0 } })
  const lifted = graph.node('Unsqueeze', [mask, graph.constantInt64([1])])
  const expanded = graph.node('Expand', [lifted, wide])
  const flat = graph.node('Concat', [graph.constantInt64([-1]), slots], { attributes: { axis: 0 } })
  return graph.node('Reshape', [expanded, flat])
}

interface HeadValues {
  readonly q: string
  readonly k: string
  readonly v: string
  readonly mask: string
}

function attendHead(graph: GraphBuilder, head: HeadValues, headDim: number, group: number): string {
  const q = group === 1 ? head.q : graph.node('Reshape', [head.q, graph.constantInt64([-1, headDim])])
  const scores = graph.node('Gemm', [q, head.k, head.mask], {
    attributes: { alpha: { float: 1 / Math.sqrt(headDim) }, transB: 1 },
  })
  const best = graph.node('ReduceMax', [scores, graph.constantInt64([1])], { attributes: { keepdims: 1 } })
  const weights = graph.node('Exp', [graph.node('Sub', [scores, best])])
  const sums = graph.node('MatMul', [weights, head.v])
  const [numerator = '', denominator = ''] = graph.nodeWith('Split', [sums, graph.constantInt64([headDim, 1])], {
    attributes: { axis: 1 },
    outputs: 2,
  })
  const y = graph.node('Div', [numerator, denominator])
  return group === 1 ? y : graph.node('Reshape', [y, graph.constantInt64([-1, group * headDim])])
}
