// What a layer's attention is made of, for those who do not care which kind it is.

import { ClusterError } from '../errors.js'
import type { AttentionSpec, GroupedAttentionSpec, LinearRef, ModelSpec, TensorRef } from './spec.js'

/** Matrices of a layer's attention. */
export function attentionLinears(attention: AttentionSpec): readonly LinearRef[] {
  if (attention.kind === 'grouped') return [attention.q, attention.k, attention.v, attention.o]
  const { q, kvDown, kvUp, o } = attention
  return [...('down' in q ? [q.down, q.up] : [q]), kvDown, kvUp, o]
}

/** The same as they are kept: of latent attention keys and values apart, the keys' part transposed. */
export function keptLinears(attention: AttentionSpec): readonly LinearRef[] {
  if (attention.kind === 'grouped') return attentionLinears(attention)
  const { numHeads, latentDim, plainDim, valueDim, kvUp } = attention
  const keys = { weight: { name: kvUp.weight.name, shape: [numHeads * latentDim, plainDim] } }
  const values = { weight: { name: kvUp.weight.name, shape: [numHeads * valueDim, latentDim] } }
  return attentionLinears(attention).flatMap((linear) => (linear === kvUp ? [keys, values] : [linear]))
}

/** Norms and sinks of a layer's attention. */
export function attentionVectors(attention: AttentionSpec): readonly TensorRef[] {
  const own =
    attention.kind === 'grouped'
      ? [attention.qkNorm?.q, attention.qkNorm?.k]
      : ['norm' in attention.q ? attention.q.norm : undefined, attention.latentNorm]
  return [...own, attention.sinks].filter((ref) => ref !== undefined)
}

/** What the cache keeps of a token for one layer. */
export interface KeptHeads {
  readonly numKvHeads: number
  readonly headDim: number // of a key
  readonly valueDim: number
}

/** Key and value heads of a layer. Latent vectors are kept as keys and, in the order of values, again. */
export function headsOf(attention: AttentionSpec): KeptHeads {
  if (attention.kind === 'latent') {
    const { latentDim, rotatedDim } = attention
    return { numKvHeads: 1, headDim: rotatedDim + latentDim, valueDim: latentDim }
  }
  const { numKvHeads, headDim } = attention
  return { numKvHeads, headDim, valueDim: headDim }
}

/** Numbers that the cache keeps of a token for one layer. */
export function cachedValues(attention: AttentionSpec): number {
  const { numKvHeads, headDim, valueDim } = headsOf(attention)
  return numKvHeads * (headDim + valueDim)
}

/** Width of a query head, as it is projected. */
export const queryWidth = (attention: AttentionSpec): number =>
  attention.kind === 'latent' ? attention.plainDim + attention.rotatedDim : attention.headDim

/** Dimensions of a query head that are rotated. */
export const rotatedDims = (attention: AttentionSpec): number =>
  attention.kind === 'latent' ? attention.rotatedDim : (attention.rope.dims ?? attention.headDim)

/** A layer's attention where only the grouped kind will do. Throws `unimplemented` naming who wants it. */
export function grouped(attention: AttentionSpec, who: string): GroupedAttentionSpec {
  if (attention.kind === 'grouped') return attention
  throw new ClusterError('unimplemented', `${who}: want grouped-query attention, got ${attention.kind} attention`)
}

/** The attention of the first layer. Throws `invalid_argument` for a model without layers. */
export function firstAttention({ layers: [first] }: ModelSpec): AttentionSpec {
  if (first !== undefined) return first.attention
  throw new ClusterError('invalid_argument', 'model: want at least one layer')
}
