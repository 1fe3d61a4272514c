// What the families share whose gate weighs all experts and then takes the best k (Qwen2-MoE, Qwen3-MoE, OLMoE).

import type { ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec } from '../spec.js'
import { denseFfn, expertCounts, ffnSpec, isSparseLayer } from './decoder.js'

export interface MoeOptions {
  readonly intermediate: number
  readonly renormalise: boolean
  readonly sharedIntermediate?: number
}

/** A sparse layer under `prefix`.mlp: softmax over all experts, then the best k. */
export function moeFfn(fields: ConfigFields, prefix: string, options: MoeOptions): FfnLayerSpec {
  const hidden = fields.size('hidden_size')
  const { numExperts, topK } = expertCounts(fields)
  const mlp = `${prefix}.mlp`
  const shared = options.sharedIntermediate
  return {
    experts: Array.from({ length: numExperts }, (_, e) => ffnSpec(`${mlp}.experts.${e}`, hidden, options.intermediate)),
    gate: {
      weight: { name: `${mlp}.gate.weight`, shape: [numExperts, hidden] },
      topK,
      scores: 'softmax',
      renormalise: options.renormalise,
    },
    ...(shared === undefined
      ? {}
      : {
          always: {
            ffn: ffnSpec(`${mlp}.shared_expert`, hidden, shared),
            sigmoidGate: { name: `${mlp}.shared_expert_gate.weight`, shape: [1, hidden] },
          },
        }),
  }
}

/** Sparse layers by `decoder_sparse_step` and `mlp_only_layers`, dense ones between. */
export function sparseOrDense(
  fields: ConfigFields,
  moe: () => MoeOptions,
): (layer: number, prefix: string) => FfnLayerSpec {
  const { numExperts } = expertCounts(fields)
  return (layer, prefix) =>
    isSparseLayer(fields, layer, numExperts) ? moeFfn(fields, prefix, moe()) : denseFfn(fields, prefix)
}
