// The second half of attention for a batch of rows: output projection, residual, the FFN's norm and the gate's logits.

import { GraphBuilder } from './graph.js'
import { floatWeight, linear, packLinear, rmsNorm, weightOf, type LinearWeights } from './linear.js'
import { createSession, type Session } from './session.js'
import type { WeightSet } from './weight-store.js'
import type { WeightFormat } from '../model/spec.js'

export interface OutputWeights {
  readonly o: LinearWeights
  readonly ffnNorm: Float32Array // [hidden]
  /** Gate rows, then the shared expert's sigmoid gate as one more row; float32 always. */
  readonly gate?: LinearWeights | undefined
}

export interface OutputShape {
  readonly hidden: number
  readonly attended: number // heads * headDim
  readonly epsilon: number
  readonly gateWidth: number // 0: no gate
}

/** The weights `o`, `ffn_norm` and `gate`. */
export function packOutput({ o, ffnNorm, gate }: OutputWeights, format: WeightFormat): WeightSet {
  return {
    ...packLinear('o', o, format),
    ffn_norm: floatWeight(ffnNorm, [ffnNorm.length]),
    ...(gate && packLinear('gate', gate, 'f32')),
  }
}

/** Inputs a [rows, heads * headDim], h_in [rows, hidden]; outputs h (with the residual), n (normed), gate logits. */
export function createOutput(set: WeightSet, shape: OutputShape, threads = 1): Session {
  const graph = new GraphBuilder()
  const { hidden } = shape
  const a = graph.input('a', ['rows', shape.attended])
  const before = graph.input('h_in', ['rows', hidden])
  const h = graph.node('Add', [before, linear(graph, a, set, 'o')])
  const n = rmsNorm(graph, h, weightOf(set, 'ffn_norm'), shape.epsilon)
  graph.output(h, 'h', ['rows', hidden])
  graph.output(n, 'n', ['rows', hidden])
  if (shape.gateWidth > 0) graph.output(linear(graph, n, set, 'gate'), 'gate', ['rows', shape.gateWidth])
  return createSession(graph.build('output'), threads)
}
