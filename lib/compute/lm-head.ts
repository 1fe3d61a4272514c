// Final norm and LM head for the rows that are sampled.

import { GraphBuilder } from './graph.js'
import { floatWeight, linear, packLinear, rmsNorm, weightOf, type LinearWeights } from './linear.js'
import { createSession, type Session } from './session.js'
import type { WeightSet } from './weight-store.js'
import type { WeightFormat } from '../model/spec.js'

export interface HeadWeights {
  readonly norm: Float32Array // [hidden]
  readonly head: LinearWeights // [vocab, hidden]
}

export interface HeadShape {
  readonly hidden: number
  readonly vocabSize: number
  readonly epsilon: number
}

/** The weights `norm` and `head`. */
export function packLmHead({ norm, head }: HeadWeights, format: WeightFormat): WeightSet {
  return { norm: floatWeight(norm, [norm.length]), ...packLinear('head', head, format) }
}

/** Input x [rows, hidden]; outputs hidden [rows, hidden] (after the final norm) and logits [rows, vocab]. */
export function createLmHead(set: WeightSet, { hidden, vocabSize, epsilon }: HeadShape, threads: number): Session {
  const graph = new GraphBuilder()
  const n = rmsNorm(graph, graph.input('x', ['rows', hidden]), weightOf(set, 'norm'), epsilon)
  graph.output(n, 'hidden', ['rows', hidden])
  graph.output(linear(graph, n, set, 'head'), 'logits', ['rows', vocabSize])
  return createSession(graph.build('lm-head'), threads)
}
