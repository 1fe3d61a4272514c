// The kinds of attention that a model's layers have, as they are probed where a worker starts: widths as they are, but
// only as many heads and positions as show what is to be shown, so that a start stays short.

import type { ProbedAttention } from '../compute/probe-layer.js'
import type { KvFormat } from '../model/kv-formats.js'
import type { AttentionSpec, ModelSpec } from '../model/spec.js'

const MOST_WINDOW = 100 // the probe's texts are short
const MOST_LATENT_HEADS = 16

export function probedAttentions({ layers }: ModelSpec, kv: KvFormat): readonly ProbedAttention[] {
  const kinds = new Map<string, ProbedAttention>()
  for (const { attention } of layers) {
    const kind = { ...probedOf(attention), ...(kv !== 'f32' && { kv }) }
    kinds.set(JSON.stringify(kind), kind)
  }
  return [...kinds.values()]
}

function probedOf(attention: AttentionSpec): ProbedAttention {
  const { numHeads, window, sinks } = attention
  const scores = {
    ...(window !== undefined && { window: Math.min(window, MOST_WINDOW) }),
    ...(sinks !== undefined && { hasSinks: true }),
  }
  if (attention.kind === 'latent') {
    const { latentDim, plainDim, rotatedDim, valueDim, q } = attention
    const queryRank = 'down' in q ? q.down.weight.shape[0] : undefined
    return {
      ...{ numHeads: Math.min(numHeads, MOST_LATENT_HEADS), latentDim, plainDim, rotatedDim, valueDim },
      ...(queryRank !== undefined && { queryRank }),
      ...scores,
    }
  }
  const { numKvHeads, headDim, rope } = attention
  return { numHeads, numKvHeads, headDim, ...(rope.dims !== undefined && { rotatedDim: rope.dims }), ...scores }
}
