// One expert: down(silu(gate(x)) * up(x)), gate and up as one product.

import { GraphBuilder } from './graph.js'
import { linear, stack, type LinearWeights } from './linear.js'
import { createSession, type Session } from './session.js'
import type { WeightFormat } from '../model/spec.js'

export interface ExpertWeights {
  readonly gate: LinearWeights
  readonly up: LinearWeights
  readonly down: LinearWeights
}

/** Input x [rows, hidden]; output y [rows, hidden]. */
export function createExpertFfn(w: ExpertWeights, format: WeightFormat): Promise<Session> {
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', w.gate.inputs])
  const both = linear(graph, x, stack([w.gate, w.up]), format)
  const [gate = '', up = ''] = graph.nodeWith('Split', [both, graph.constantInt64([w.gate.outputs, w.up.outputs])], {
    attributes: { axis: 1 },
    outputs: 2,
  })
  const inner = graph.node('Mul', [graph.node('Mul', [gate, graph.node('Sigmoid', [gate])]), up])
  graph.output(linear(graph, inner, w.down, format), 'y', ['rows', w.down.outputs])
  return createSession(graph.build('expert'))
}
