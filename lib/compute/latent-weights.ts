// The weights of multi-head latent attention, packed so that neither keys nor values of heads are ever made: a query is
// taken into the space of latent vectors by its head's key rows, and what attention gives is taken out of it by the
// head's value rows. Both are products of one head.

import { ClusterError } from '../errors.js'
import type { WeightFormat } from '../model/spec.js'
import { attentionFormat } from '../model/weight-formats.js'
import { packEnds, type EndWeights } from './layer-ends.js'
import { stack, type LinearWeights } from './linear-weights.js'
import type { Steps } from './steps.js'
import { packTiles, TILE, tilesOf } from './tiles.js'
import { floatWeight, type WeightSet } from './weight-store.js'

export interface LatentHeads {
  readonly numHeads: number
  readonly latentDim: number // even
  readonly plainDim: number // of a query, not rotated
  readonly rotatedDim: number // even
  readonly valueDim: number // of a head
}

export interface LatentWeights extends EndWeights {
  /** Queries [heads * (plain + rotated)] of hidden rows, or through a normed vector of lower rank. */
  readonly q: LinearWeights | LowRankQueries
  readonly kvDown: LinearWeights // [latent + rotated, hidden]
  readonly latentNorm: Float32Array // [latent]
  readonly kvUp: LinearWeights // [heads * (plain + value), latent]
  readonly sinks?: Float32Array | undefined // [heads]
}

export interface LowRankQueries {
  readonly down: LinearWeights // [rank, hidden]
  readonly norm: Float32Array // [rank]
  readonly up: LinearWeights // [heads * (plain + rotated), rank]
}

/** Floats of a head's values: whole tiles, so that a product's last tile overwrites no neighbour. */
export const valueStride = (valueDim: number): number => tilesOf(valueDim) * TILE

/**
 * The weights `down` ([q | latent | shared key]), `q_norm` and `q_up` where queries are of lower rank, `latent_norm`,
 * `key.N` and `value.N` of head N, `sinks`, and those of the ends.
 */
export function* packLatentAttention(
  weights: LatentWeights,
  heads: LatentHeads,
  expertFormat: WeightFormat,
): Steps<WeightSet> {
  const format = attentionFormat(expertFormat)
  const { q, kvDown, kvUp, latentNorm, sinks, o } = weights
  const { numHeads, valueDim } = heads
  if (kvUp.bias !== undefined) throw new ClusterError('unimplemented', 'latent attention: want kvUp without a bias')
  const [first, lowRank] = 'down' in q ? [q.down, q] : [q, undefined]
  const kvRows = { tensor: kvUp.tensor, weights: kvUp.weights } // read once for all heads
  const perHead: WeightSet[] = []
  for (let head = 0; head < numHeads; head++) {
    perHead.push(yield* packTiles(`key.${head}`, keyRows(kvRows, heads, head), format))
    perHead.push(yield* packTiles(`value.${head}`, valueRows(kvRows, heads, head), format))
  }
  return {
    ...(yield* packEnds({ ...weights, o: withStride(o, valueDim, valueStride(valueDim)) }, format)),
    ...(yield* packTiles('down', stack([first, kvDown]), format)),
    ...(lowRank && {
      q_norm: floatWeight(lowRank.norm, [lowRank.norm.length]),
      ...(yield* packTiles('q_up', lowRank.up, format)),
    }),
    latent_norm: floatWeight(latentNorm, [latentNorm.length]),
    ...perHead.reduce<WeightSet>((all, each) => ({ ...all, ...each }), {}),
    ...(sinks && { sinks: floatWeight(sinks, [sinks.length]) }),
  }
}

type HeadRows = Pick<LinearWeights, 'tensor' | 'weights'>

/** Takes a head's plain query to latent space: its key rows transposed, [latent, plain]. */
function keyRows({ tensor, weights }: HeadRows, heads: LatentHeads, head: number): LinearWeights {
  const { latentDim, plainDim, valueDim } = heads
  const first = head * (plainDim + valueDim) * latentDim
  const transposed = new Float32Array(latentDim * plainDim)
  for (let plain = 0; plain < plainDim; plain++) {
    for (let i = 0; i < latentDim; i++) transposed[i * plainDim + plain] = weights[first + plain * latentDim + i]!
  }
  return { weights: transposed, tensor, inputs: plainDim, outputs: latentDim }
}

/** Takes what a head attended to out of latent space: [value, latent]. */
function valueRows({ tensor, weights }: HeadRows, heads: LatentHeads, head: number): LinearWeights {
  const { latentDim, plainDim, valueDim } = heads
  const first = (head * (plainDim + valueDim) + plainDim) * latentDim
  const rows = weights.subarray(first, first + valueDim * latentDim)
  return { weights: rows, tensor, inputs: latentDim, outputs: valueDim }
}

/** A layer over heads that lie further apart: zeros between them. */
function withStride(layer: LinearWeights, width: number, stride: number): LinearWeights {
  if (width === stride) return layer
  const { outputs, bias, weights, tensor } = layer
  const numHeads = layer.inputs / width
  const inputs = numHeads * stride
  const padded = new Float32Array(outputs * inputs)
  for (let i = 0; i < outputs * numHeads; i++) padded.set(weights.subarray(i * width, (i + 1) * width), i * stride)
  return { weights: padded, tensor, inputs, outputs, bias }
}
