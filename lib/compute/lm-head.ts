// Final norm and LM head for the rows that are sampled.

import { GraphBuilder } from './graph.js'
import { linear, rmsNorm, type LinearWeights } from './linear.js'
import { createSession, type Session } from './session.js'
import type { WeightFormat } from '../model/spec.js'

export interface HeadWeights {
  readonly epsilon: number
  readonly norm: Float32Array // [hidden]
  readonly head: LinearWeights // [vocab, hidden]
}

/** Input x [rows, hidden]; outputs hidden [rows, hidden] (after the final norm) and logits [rows, vocab]. */
export function createLmHead(w: HeadWeights, format: WeightFormat, threads: number): Promise<Session> {
  const graph = new GraphBuilder()
  const n = rmsNorm(graph, graph.input('x', ['rows', w.head.inputs]), w.norm, w.epsilon)
  graph.output(n, 'hidden', ['rows', w.head.inputs])
  graph.output(linear(graph, n, w.head, format), 'logits', ['rows', w.head.outputs])
  return createSession(graph.build('lm-head'), threads)
}
