// One layer's attention on a device, as one graph: residual, norm, q/k/v, q/k norm and rotation, the new keys and values
// into the pool, attention over the slots of a table, output projection, residual, the FFN's norm, the gate's logits.
// Rows come as [spans, rows of a span]; a span's rows share a table of slots and see parts of it.
//
// Invariants
//   A1  A row's bits do not depend on what it does not see: that weighs exactly zero, and sums over slots (the product with
//       the values, and the one with ones that gives the softmax's denominator) run in the order of the table. The
//       engine's own softmax adds in an order that depends on places, so it is not used.
//   A2  The keys and values of a step are in the pool before a row reads it.

import type { WeightFormat } from '../../model/spec.js'
import type { AttentionWeights, HeadGeometry } from '../attention-layer.js'
import { GraphBuilder, type BuiltGraph } from '../graph.js'
import { linear, packLinear, rmsNorm } from '../linear.js'
import { stack } from '../linear-weights.js'
import { floatWeight, weightOf, type WeightSet } from '../weight-store.js'

export interface DeviceLayerShape extends HeadGeometry {
  readonly hidden: number
  readonly epsilon: number
  readonly qkNorm?: 'head' | 'projection' | undefined
  readonly clip?: number | undefined
  readonly scale?: number | undefined // of the scores; 1 / √headDim, unless given
  readonly gateWidth: number // 0: there is no gate
  /** The first layer has no experts before it, the last one gives h to this side. */
  readonly isFirst: boolean
  readonly isLast: boolean
}

/** What a row does not see is scored so low that its weight is exactly zero. */
export const UNSEEN = -1e30

/** Columns of the ones that add up weights: as many as a device reads at once. */
export const ONES = 4

const INT64 = 7 // TensorProto.DataType

/** The weights `norm`, `qkv`, `q_norm`, `k_norm`, `o`, `ffn_norm` and `gate`. */
export function packDeviceAttention(weights: AttentionWeights, format: WeightFormat): WeightSet {
  const { norm, q, k, v, qkNorm, o, ffnNorm, gate } = weights
  return {
    norm: floatWeight(norm, [norm.length]),
    ...packLinear('qkv', stack([q, k, v]), format),
    ...(qkNorm && {
      q_norm: floatWeight(qkNorm.q, [qkNorm.q.length]),
      k_norm: floatWeight(qkNorm.k, [qkNorm.k.length]),
    }),
    ...packLinear('o', o, format),
    ffn_norm: floatWeight(ffnNorm, [ffnNorm.length]),
    ...(gate && packLinear('gate', gate, 'f32')),
  }
}

/**
 * Inputs h and (unless first) delta [spans, rows, hidden]; `cos`, `sin` [spans, rows, 1, headDim / 2]; `places`
 * [rows · kvHeads, 1]: where keys and values go; `table` [spans, kvHeads, slots]: the slots a span reads; `mask` [spans, 1,
 * 1, rows, slots]; `ones` [slots, ONES]; shapes of scores apart and joined; the pool's `keys` and `values` [slots · kvHeads,
 * headDim]. Outputs `next_keys`, `next_values`; `rows`: the normed rows, the gate's logits and (last layer) h, side by
 * side; `next_h` (other layers).
 */
export function attentionGraph(set: WeightSet, shape: DeviceLayerShape): BuiltGraph {
  const { hidden, epsilon, isFirst, isLast, gateWidth } = shape
  const graph = new GraphBuilder()
  const rowsOf = ['spans', 'rows', hidden]
  const before = graph.input('h', rowsOf)
  const h = isFirst ? before : graph.node('Add', [before, graph.input('delta', rowsOf)])
  const n = rmsNorm(graph, h, weightOf(set, 'norm'), epsilon)
  const attended = attend(graph, shape, projections(graph, set, shape, n))
  const after = graph.node('Add', [h, linear(graph, attended, set, 'o')])
  const normed = rmsNorm(graph, after, weightOf(set, 'ffn_norm'), epsilon)
  const parts = [normed, ...(gateWidth > 0 ? [linear(graph, normed, set, 'gate')] : []), ...(isLast ? [after] : [])]
  const rows = parts.length === 1 ? normed : graph.node('Concat', parts, { attributes: { axis: -1 } })
  graph.output(rows, 'rows', ['spans', 'rows', downloadWidth(shape)])
  if (!isLast) graph.output(after, 'next_h', rowsOf)
  return graph.build('attention')
}

/** Floats of a row that comes back. */
export const downloadWidth = ({ hidden, gateWidth, isLast }: DeviceLayerShape): number =>
  hidden + gateWidth + (isLast ? hidden : 0)

interface Projections {
  readonly q: string // [spans, rows, heads, headDim], scaled
  readonly k: string // [spans, rows, kvHeads, headDim]
  readonly v: string
}

function projections(graph: GraphBuilder, set: WeightSet, shape: DeviceLayerShape, n: string): Projections {
  const { numHeads, numKvHeads, headDim, epsilon, qkNorm, clip, scale = 1 / Math.sqrt(headDim) } = shape
  const half = headDim / 2
  const [cos, sin] = [graph.input('cos', ['spans', 'rows', 1, half]), graph.input('sin', ['spans', 'rows', 1, half])]
  const widths = graph.constantInt64([numHeads, numKvHeads, numKvHeads].map((count) => count * headDim))
  const [q = '', k = '', v = ''] = graph.nodeWith('Split', [linear(graph, n, set, 'qkv'), widths], {
    attributes: { axis: -1 },
    outputs: 3,
  })
  const split = (x: string, count: number): string =>
    graph.node('Reshape', [x, graph.constantInt64([0, 0, count, headDim])])
  const clipped = (x: string): string => {
    if (clip === undefined) return x
    const [low, high] = [-clip, clip].map((limit) => graph.constant(Float32Array.of(limit), []))
    return graph.node('Clip', [x, low!, high!])
  }
  const turned = (x: string, name: 'q_norm' | 'k_norm', count: number): string => {
    const whole = qkNorm === 'projection' ? rmsNorm(graph, x, weightOf(set, name), epsilon) : x
    const heads = split(whole, count)
    return rotate(graph, clipped(qkNorm === 'head' ? rmsNorm(graph, heads, weightOf(set, name), epsilon) : heads), {
      cos,
      sin,
    })
  }
  const factor = graph.constant(Float32Array.of(scale), [1])
  return {
    q: graph.node('Mul', [turned(q, 'q_norm', numHeads), factor]),
    k: turned(k, 'k_norm', numKvHeads),
    v: split(clipped(v), numKvHeads),
  }
}

/** Turns the halves of each head by the angles of its row. */
function rotate(graph: GraphBuilder, x: string, { cos, sin }: { readonly cos: string; readonly sin: string }): string {
  const [a = '', b = ''] = graph.nodeWith('Split', [x], { attributes: { axis: -1, num_outputs: 2 }, outputs: 2 })
  const product = (left: string, right: string): string => graph.node('Mul', [left, right])
  const first = graph.node('Sub', [product(a, cos), product(b, sin)])
  const second = graph.node('Add', [product(b, cos), product(a, sin)])
  return graph.node('Concat', [first, second], { attributes: { axis: -1 } })
}

/** Writes the new keys and values, then attends: [spans, rows, heads · headDim]. */
function attend(graph: GraphBuilder, shape: DeviceLayerShape, { q, k, v }: Projections): string {
  const { numHeads, numKvHeads, headDim } = shape
  const group = numHeads / numKvHeads
  const reshape = (x: string, dims: readonly number[]): string => graph.node('Reshape', [x, graph.constantInt64(dims)])
  const transpose = (x: string, perm: readonly number[]): string =>
    graph.node('Transpose', [x], { attributes: { perm } })
  const places = graph.node('Cast', [graph.input('places', ['writes', 1], 'int32')], { attributes: { to: INT64 } })
  const table = graph.input('table', ['spans', numKvHeads, 'slots'], 'int32')
  const read = (name: 'keys' | 'values', rows: string): string => {
    const pool = graph.input(name, ['pool', headDim])
    const next = `next_${name}`
    graph.output(graph.node('ScatterND', [pool, places, reshape(rows, [-1, headDim])]), next, ['pool', headDim])
    return graph.node('Gather', [next, table], { attributes: { axis: 0 } }) // [spans, kvHeads, slots, headDim] (A2)
  }
  const keys = transpose(read('keys', k), [0, 1, 3, 2])
  const values = read('values', v)
  const queries = reshape(transpose(reshape(q, [0, 0, numKvHeads, group, headDim]), [0, 2, 3, 1, 4]), [
    0,
    0,
    -1,
    headDim,
  ])
  const apart = graph.input('apart', [5], 'int64') // [spans, kvHeads, group, rows, slots]
  const joined = graph.input('joined', [4], 'int64') // [spans, kvHeads, group · rows, slots]
  const mask = graph.input('mask', ['spans', 1, 1, 'rows', 'slots'])
  const scores = graph.node('Add', [graph.node('Reshape', [graph.node('MatMul', [queries, keys]), apart]), mask])
  const highest = graph.node('ReduceMax', [scores, graph.constantInt64([-1])], { attributes: { keepdims: 1 } })
  const weights = graph.node('Reshape', [graph.node('Exp', [graph.node('Sub', [scores, highest])]), joined])
  const sums = graph.node('MatMul', [weights, graph.input('ones', ['slots', ONES])])
  const [total = ''] = graph.nodeWith('Split', [sums, graph.constantInt64([1, ONES - 1])], {
    attributes: { axis: -1 },
    outputs: 2,
  })
  const attended = graph.node('Div', [graph.node('MatMul', [weights, values]), total])
  const perRow = transpose(reshape(attended, [0, 0, group, -1, headDim]), [0, 3, 1, 2, 4])
  return reshape(perRow, [0, 0, numHeads * headDim])
}
