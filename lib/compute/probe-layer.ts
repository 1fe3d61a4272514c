// A layer with made-up weights of any attention that a model can have: what probes and tests run.

import { createAttentionLayer, packAttention, type AttentionLayer, type HeadGeometry } from './attention-layer.js'
import type { Kernels } from './kernels.js'
import type { KvGeometry } from './kv-layout.js'
import { createLatentAttentionLayer } from './latent-attention-layer.js'
import { packLatentAttention, type LatentHeads } from './latent-weights.js'
import type { LinearWeights } from './linear-weights.js'
import type { KvFormat } from '../model/kv-formats.js'
import { probeValues } from './probe-values.js'
import { inOneGo } from './steps.js'

interface ProbedScores {
  readonly window?: number | undefined
  readonly hasSinks?: boolean | undefined
  readonly kv?: KvFormat | undefined // of the cache; f32, unless given
}

export interface ProbedGroups extends HeadGeometry, ProbedScores {
  readonly rotatedDim?: number | undefined // of a head; all, unless given
}

export interface ProbedLatents extends LatentHeads, ProbedScores {
  readonly queryRank?: number | undefined // queries come of hidden rows, unless given
}

/** An attention to be probed. */
export type ProbedAttention = ProbedGroups | ProbedLatents

export const nameOfProbed = (attention: ProbedAttention): string => {
  const heads =
    'latentDim' in attention
      ? `${attention.numHeads} heads on latent vectors of width ${attention.latentDim}`
      : `${attention.numHeads} heads on ${attention.numKvHeads} of width ${attention.headDim}`
  const window = attention.window === undefined ? '' : `, window ${attention.window}`
  const kv = attention.kv === 'f16' ? ', cache in f16' : ''
  return heads + window + (attention.hasSinks === true ? ', sinks' : '') + kv
}

export interface ProbedLayer {
  readonly layer: AttentionLayer
  readonly kv: KvGeometry
  readonly rotatedDim: number
}

/** Maps rows of hidden states to rows of the same width. */
export function createProbedLayer(kernels: Kernels, attention: ProbedAttention, hidden: number): ProbedLayer {
  const { numHeads, hasSinks, window, kv = 'f32' } = attention
  const linear = (inputs: number, outputs: number, seed: number): LinearWeights => {
    return { weights: probeValues(inputs * outputs, seed, 0.4), inputs, outputs }
  }
  const ends = {
    norm: probeValues(hidden, 1),
    ffnNorm: probeValues(hidden, 6),
    sinks: hasSinks === true ? probeValues(numHeads, 7, 2) : undefined,
  }
  const shape = { window, hidden, epsilon: 1e-6, rotation: 0, pageOffset: 0, expertBlocks: 0, kv }
  if ('latentDim' in attention) {
    const { latentDim, plainDim, rotatedDim, valueDim, queryRank } = attention
    const queries = numHeads * (plainDim + rotatedDim)
    const weights = {
      ...ends,
      q:
        queryRank === undefined
          ? linear(hidden, queries, 2)
          : {
              down: linear(hidden, queryRank, 2),
              norm: probeValues(queryRank, 8),
              up: linear(queryRank, queries, 9),
            },
      kvDown: linear(hidden, latentDim + rotatedDim, 3),
      latentNorm: probeValues(latentDim, 10),
      kvUp: linear(latentDim, numHeads * (plainDim + valueDim), 4),
      o: linear(numHeads * valueDim, hidden, 5),
    }
    const set = inOneGo(packLatentAttention(weights, attention, 'int8'))
    const layer = createLatentAttentionLayer(kernels, set, { ...attention, ...shape, latentEpsilon: 1e-6 })
    return { layer, rotatedDim, kv: { numKvHeads: 1, headDim: rotatedDim + latentDim, valueDim: latentDim } }
  }
  const { numKvHeads, headDim, rotatedDim = headDim } = attention
  const weights = {
    ...ends,
    q: linear(hidden, numHeads * headDim, 2),
    k: linear(hidden, numKvHeads * headDim, 3),
    v: linear(hidden, numKvHeads * headDim, 4),
    o: linear(numHeads * headDim, hidden, 5),
  }
  const layer = createAttentionLayer(kernels, inOneGo(packAttention(weights, 'int8')), { ...attention, ...shape })
  return { layer, rotatedDim, kv: { numKvHeads, headDim, valueDim: headDim } }
}
