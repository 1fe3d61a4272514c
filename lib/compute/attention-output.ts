// The second half of attention for a batch of rows: output projection, residual, the FFN's norm and the gate's logits.

import { GraphBuilder } from './graph.js'
import { linear, rmsNorm, type LinearWeights } from './linear.js'
import { createSession, type Session } from './session.js'
import type { WeightFormat } from '../model/spec.js'

export interface OutputWeights {
  readonly hidden: number
  readonly epsilon: number
  readonly o: LinearWeights
  readonly ffnNorm: Float32Array // [hidden]
  /** Gate rows, then the shared expert's sigmoid gate as one more row; float32 always. */
  readonly gate?: LinearWeights | undefined
}

/** Inputs a [rows, heads * headDim], h [rows, hidden]; outputs h (with the residual), n (normed), gate logits. */
export function createOutput(w: OutputWeights, format: WeightFormat): Promise<Session> {
  const graph = new GraphBuilder()
  const a = graph.input('a', ['rows', w.o.inputs])
  const before = graph.input('h_in', ['rows', w.hidden])
  const h = graph.node('Add', [before, linear(graph, a, w.o, format)])
  const n = rmsNorm(graph, h, w.ffnNorm, w.epsilon)
  graph.output(h, 'h', ['rows', w.hidden])
  graph.output(n, 'n', ['rows', w.hidden])
  if (w.gate !== undefined) graph.output(linear(graph, n, w.gate, 'f32'), 'gate', ['rows', w.gate.outputs])
  return createSession(graph.build('output'))
}
