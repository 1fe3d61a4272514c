// What a device's attention lacks, told before anything is opened there: one error that names the first layer and thing.

import { ClusterError } from '../errors.js'
import { headsOf, rotatedDims } from '../model/attention-parts.js'
import type { LayerSpec, ModelSpec } from '../model/spec.js'

/** Throws `unimplemented` where a layer's attention is of a kind that devices do not compute. */
export function requireDeviceAttention({ family, maxPositions, layers }: ModelSpec): void {
  const [first] = layers
  for (const [index, layer] of layers.entries()) {
    const lacking = lackingIn(layer, maxPositions) ?? (first && differenceOf(first, layer))
    if (lacking === undefined) continue
    const wanted = 'want attention that a device computes'
    throw new ClusterError('unimplemented', `${family}, layer ${index}: ${wanted}, got ${lacking}; use --device cpu`)
  }
}

function lackingIn({ attention, attentionPostNorm, ffnPostNorm }: LayerSpec, maxPositions: number): string | undefined {
  if (attention.kind === 'latent') return 'latent attention'
  const { sinks, window = Infinity, headDim } = attention
  if (sinks !== undefined) return 'attention sinks'
  if (window < maxPositions) return `a sliding window of ${window}`
  if (rotatedDims(attention) !== headDim) return `a rotation of ${rotatedDims(attention)} of ${headDim} dimensions`
  if (attentionPostNorm !== undefined) return 'a norm after attention'
  return ffnPostNorm === undefined ? undefined : 'a norm after the FFN'
}

/** Rotary tables and pools of slots are one for all layers. */
function differenceOf({ attention: first }: LayerSpec, { attention }: LayerSpec): string | undefined {
  if (JSON.stringify(attention.rope) !== JSON.stringify(first.rope)) return "a rotation other than the first layer's"
  const sizes = ({ numHeads }: typeof first, kept: ReturnType<typeof headsOf>) => JSON.stringify([numHeads, kept])
  const isSame = sizes(attention, headsOf(attention)) === sizes(first, headsOf(first))
  return isSame ? undefined : "heads other than the first layer's"
}
