// The first half of attention for a batch of rows: add the previous layer's FFN output, norm, q/k/v, q/k norm, rotation.

import type { Session } from './session.js'
import { createSession } from './session.js'
import { GraphBuilder } from './graph.js'
import { linear, rmsNorm, stack, type LinearWeights } from './linear.js'
import type { WeightFormat } from '../model/spec.js'

export interface ProjectionWeights {
  readonly hidden: number
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
  readonly epsilon: number
  readonly norm: Float32Array // [hidden]
  readonly q: LinearWeights
  readonly k: LinearWeights
  readonly v: LinearWeights
  readonly qkNorm?:
    { readonly over: 'head' | 'projection'; readonly q: Float32Array; readonly k: Float32Array } | undefined
  readonly clip?: number | undefined
  /** Whether the input `delta` (the previous layer's FFN output) exists. */
  readonly addsDelta: boolean
}

/** Inputs x, delta? [rows, hidden], cos, sin [rows, headDim / 2], places [1, rows]; outputs h, q, k, v [rows, …]. */
export function createProjection(w: ProjectionWeights, format: WeightFormat): Promise<Session> {
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', w.hidden])
  const h = w.addsDelta ? graph.node('Add', [x, graph.input('delta', ['rows', w.hidden])]) : x
  const rotation = {
    cos: graph.input('cos', ['rows', w.headDim / 2]),
    sin: graph.input('sin', ['rows', w.headDim / 2]),
    places: graph.input('places', [1, 'rows'], 'int64'),
  }
  const qkv = linear(graph, rmsNorm(graph, h, w.norm, w.epsilon), stack([w.q, w.k, w.v]), format)
  const sizes = graph.constantInt64([w.q.outputs, w.k.outputs, w.v.outputs])
  const [q = '', k = '', v = ''] = graph.nodeWith('Split', [qkv, sizes], {
    attributes: { axis: 1 },
    outputs: 3,
  })
  if (w.addsDelta) graph.output(h, 'h', ['rows', w.hidden])
  const clippedQ = clipped(graph, normed(graph, q, w, 'q'), w.clip)
  const clippedK = clipped(graph, normed(graph, k, w, 'k'), w.clip)
  graph.output(rotated(graph, clippedQ, w.q.outputs, rotation), 'q', ['rows', w.q.outputs])
  graph.output(rotated(graph, clippedK, w.k.outputs, rotation), 'k', ['rows', w.k.outputs])
  graph.output(clipped(graph, v, w.clip), 'v', ['rows', w.v.outputs])
  return createSession(graph.build('projection'))
}

function clipped(graph: GraphBuilder, x: string, clip: number | undefined): string {
  if (clip === undefined) return x
  return graph.node('Clip', [x, graph.constant(Float32Array.of(-clip), []), graph.constant(Float32Array.of(clip), [])])
}

function normed(graph: GraphBuilder, x: string, w: ProjectionWeights, which: 'q' | 'k'): string {
  if (w.qkNorm === undefined) return x
  const weight = w.qkNorm[which]
  if (w.qkNorm.over === 'projection') return rmsNorm(graph, x, weight, w.epsilon)
  const heads = graph.node('Reshape', [x, graph.constantInt64([-1, w.headDim])])
  return graph.node('Reshape', [rmsNorm(graph, heads, weight, w.epsilon), graph.constantInt64([-1, w[which].outputs])])
}

export interface Rotation {
  readonly cos: string
  readonly sin: string
  readonly places: string
}

/** Appends the rotary embedding of x [rows, width]; the tables hold one row per batch row, so `places` is just 0 … rows-1. */
export function rotated(graph: GraphBuilder, x: string, width: number, { places, cos, sin }: Rotation): string {
  const batch = graph.node('Reshape', [x, graph.constantInt64([1, -1, width])])
  const turned = graph.node('RotaryEmbedding', [batch, places, cos, sin], { domain: 'com.microsoft' })
  return graph.node('Reshape', [turned, graph.constantInt64([-1, width])])
}
