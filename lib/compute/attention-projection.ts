// The first half of attention for a batch of rows: add the previous layer's FFN output, norm, q/k/v, q/k norm, rotation.

import { createSession, type Session } from './session.js'
import { GraphBuilder } from './graph.js'
import { floatWeight, linear, packLinear, rmsNorm, stack, weightOf, type LinearWeights } from './linear.js'
import type { WeightSet } from './weight-store.js'
import type { WeightFormat } from '../model/spec.js'

export interface ProjectionWeights {
  readonly norm: Float32Array // [hidden]
  readonly q: LinearWeights
  readonly k: LinearWeights
  readonly v: LinearWeights
  readonly qkNorm?: { readonly q: Float32Array; readonly k: Float32Array } | undefined
}

export interface ProjectionShape {
  readonly hidden: number
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
  readonly epsilon: number
  readonly qkNorm?: 'head' | 'projection' | undefined
  readonly clip?: number | undefined
  /** Whether the input `delta` (the previous layer's FFN output) exists. */
  readonly addsDelta: boolean
}

/** The weights `norm`, `qkv`, `q_norm` and `k_norm`. */
export function packProjection({ norm, q, k, v, qkNorm }: ProjectionWeights, format: WeightFormat): WeightSet {
  return {
    norm: floatWeight(norm, [norm.length]),
    ...packLinear('qkv', stack([q, k, v]), format),
    ...(qkNorm && {
      q_norm: floatWeight(qkNorm.q, [qkNorm.q.length]),
      k_norm: floatWeight(qkNorm.k, [qkNorm.k.length]),
    }),
  }
}

/** Inputs x, delta? [rows, hidden], cos, sin [rows, headDim / 2], places [1, rows]; outputs h, q, k, v [rows, …]. */
export function createProjection(set: WeightSet, shape: ProjectionShape, threads = 1): Session {
  const graph = new GraphBuilder()
  const { hidden, headDim } = shape
  const widths = { q: shape.numHeads * headDim, k: shape.numKvHeads * headDim, v: shape.numKvHeads * headDim }
  const x = graph.input('x', ['rows', hidden])
  const h = shape.addsDelta ? graph.node('Add', [x, graph.input('delta', ['rows', hidden])]) : x
  const rotation = {
    cos: graph.input('cos', ['rows', headDim / 2]),
    sin: graph.input('sin', ['rows', headDim / 2]),
    places: graph.input('places', [1, 'rows'], 'int64'),
  }
  const n = rmsNorm(graph, h, weightOf(set, 'norm'), shape.epsilon)
  const [q = '', k = '', v = ''] = graph.nodeWith(
    'Split',
    [linear(graph, n, set, 'qkv'), graph.constantInt64([widths.q, widths.k, widths.v])],
    { attributes: { axis: 1 }, outputs: 3 },
  )
  if (shape.addsDelta) graph.output(h, 'h', ['rows', hidden])
  for (const [name, value] of [
    ['q', q],
    ['k', k],
  ] as const) {
    const ready = clipped(graph, normed(graph, value, { set, shape, name, width: widths[name] }), shape.clip)
    graph.output(rotated(graph, ready, widths[name], rotation), name, ['rows', widths[name]])
  }
  graph.output(clipped(graph, v, shape.clip), 'v', ['rows', widths.v])
  return createSession(graph.build('projection'), threads)
}

function clipped(graph: GraphBuilder, x: string, clip: number | undefined): string {
  if (clip === undefined) return x
  return graph.node('Clip', [x, graph.constant(Float32Array.of(-clip), []), graph.constant(Float32Array.of(clip), [])])
}

interface Normed {
  readonly set: WeightSet
  readonly shape: ProjectionShape
  readonly name: 'q' | 'k'
  readonly width: number
}

function normed(graph: GraphBuilder, x: string, { set, shape, name, width }: Normed): string {
  if (shape.qkNorm === undefined) return x
  const weight = weightOf(set, `${name}_norm`)
  if (shape.qkNorm === 'projection') return rmsNorm(graph, x, weight, shape.epsilon)
  const heads = graph.node('Reshape', [x, graph.constantInt64([-1, shape.headDim])])
  return graph.node('Reshape', [rmsNorm(graph, heads, weight, shape.epsilon), graph.constantInt64([-1, width])])
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
