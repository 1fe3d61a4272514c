// The experts of one layer that a worker holds, as one graph: per expert an `If` around gather → FFN → weigh, so that a
// step costs one run however many experts it touches, and an untouched expert costs a comparison.

import { GraphBuilder, type BuiltGraph } from './graph.js'
import { linear, packLinear, stack, weightOf, type LinearWeights } from './linear.js'
import { createSession, type Session } from './session.js'
import type { WeightSet } from './weight-store.js'
import type { WeightFormat } from '../model/spec.js'

export interface ExpertWeights {
  readonly gate: LinearWeights
  readonly up: LinearWeights
  readonly down: LinearWeights
}

/** The weights `name.gate_up` (one product) and `name.down` of one expert. */
export function packExpert(name: string, { gate, up, down }: ExpertWeights, format: WeightFormat): WeightSet {
  return { ...packLinear(`${name}.gate_up`, stack([gate, up]), format), ...packLinear(`${name}.down`, down, format) }
}

/** Rows of each expert: expert i takes counts[i] consecutive entries of `rows` and `weights`. */
export interface ExpertRows {
  readonly x: Float32Array // [numRows, hidden]
  readonly counts: Int32Array // [experts]
  readonly rows: Int32Array // places in x
  readonly weights: Float32Array
}

export interface ExpertLayer {
  /** weight · down(silu(gate(x)) · up(x)) for every entry of `rows`, in their order: [rows.length, hidden]. */
  compute(call: ExpertRows): Float32Array
  dispose(): void
}

export interface ExpertLayerOptions {
  readonly set: WeightSet
  readonly names: readonly string[] // of the experts in `set`, in the order of `counts`
  readonly hidden: number
  readonly minRows: 1 | 2 // 2: a lone row of an expert is run as two copies
  readonly threads?: number
}

/** A layer over experts packed by `packExpert`. */
export function createExpertLayer({ set, names, hidden, minRows, threads = 1 }: ExpertLayerOptions): ExpertLayer {
  const session = createSession(buildLayer(set, names, hidden), threads)
  return {
    compute: (call) => (minRows === 1 ? run(session, hidden, call) : runInPairs(session, hidden, call)),
    dispose: () => session.dispose(),
  }
}

function run(session: Session, hidden: number, { x, counts, rows, weights }: ExpertRows): Float32Array {
  const { y } = session.run({
    x: { data: x, dims: [x.length / hidden, hidden] },
    touched: { data: Uint8Array.from(counts, (count) => (count > 0 ? 1 : 0)), dims: [counts.length] },
    counts: { data: BigInt64Array.from(counts, BigInt), dims: [counts.length] },
    rows: { data: BigInt64Array.from(rows, BigInt), dims: [rows.length] },
    weights: { data: weights, dims: [weights.length, 1] },
  })
  return y ?? new Float32Array(0)
}

/** The two-row rule (`two-rows.ts`) for experts: a lone row goes twice, the copy's result is left out. */
function runInPairs(session: Session, hidden: number, call: ExpertRows): Float32Array {
  const rows: number[] = []
  const weights: number[] = []
  const kept: number[] = []
  let at = 0
  const counts = call.counts.map((count) => {
    for (let i = 0; i < count; i++, at++) {
      kept.push(rows.length)
      for (let copy = count === 1 ? 2 : 1; copy > 0; copy--) {
        rows.push(call.rows[at]!)
        weights.push(call.weights[at]!)
      }
    }
    return count === 1 ? 2 : count
  })
  const doubled = { x: call.x, counts, rows: Int32Array.from(rows), weights: Float32Array.from(weights) }
  const all = run(session, hidden, doubled)
  const y = new Float32Array(kept.length * hidden)
  kept.forEach((place, i) => y.set(all.subarray(place * hidden, (place + 1) * hidden), i * hidden))
  return y
}

function buildLayer(set: WeightSet, names: readonly string[], hidden: number): BuiltGraph {
  const graph = new GraphBuilder()
  const numExperts = names.length
  const x = graph.input('x', ['numRows', hidden])
  const touched = graph.input('touched', [numExperts], 'bool')
  const counts = graph.input('counts', [numExperts], 'int64')
  const rows = cut(graph, graph.input('rows', ['entries'], 'int64'), counts, numExperts)
  const weights = cut(graph, graph.input('weights', ['entries', 1]), counts, numExperts)
  const ones = graph.constantInt64(Array<number>(numExperts).fill(1))
  const flags = cut(graph, touched, ones, numExperts)
  const outputs = names.map((name, i) =>
    graph.branch(
      flags[i] ?? '',
      (inner) => {
        const mine = inner.node('Gather', [x, rows[i] ?? ''], { attributes: { axis: 0 } })
        return inner.node('Mul', [ffn(inner, mine, set, name), weights[i] ?? ''])
      },
      (inner) => inner.constant(new Float32Array(0), [0, hidden]),
    ),
  )
  const y = outputs.length === 1 ? (outputs[0] ?? '') : graph.node('Concat', outputs, { attributes: { axis: 0 } })
  graph.output(y, 'y', ['entries', hidden])
  return graph.build('experts')
}

function cut(graph: GraphBuilder, list: string, sizes: string, numParts: number): readonly string[] {
  return numParts === 1
    ? [list]
    : graph.nodeWith('Split', [list, sizes], { attributes: { axis: 0 }, outputs: numParts })
}

function ffn(graph: GraphBuilder, x: string, set: WeightSet, name: string): string {
  const { element, dims } = weightOf(set, `${name}.gate_up.weights`)
  const inner = (dims[element === 'float' ? 1 : 0] ?? 0) / 2
  const both = linear(graph, x, set, `${name}.gate_up`)
  const [gate = '', up = ''] = graph.nodeWith('Split', [both, graph.constantInt64([inner, inner])], {
    attributes: { axis: 1 },
    outputs: 2,
  })
  const active = graph.node('Mul', [gate, graph.node('Sigmoid', [gate])])
  return linear(graph, graph.node('Mul', [active, up]), set, `${name}.down`)
}
