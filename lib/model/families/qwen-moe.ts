// Qwen2-MoE (shared expert behind a sigmoid gate), Qwen3-MoE (q/k norm per head) and OLMoE (q/k norm over the whole
// projection, clipped q/k/v): softmax over all experts, then the best k.

import type { ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec } from '../spec.js'
import { decoderSpec, denseFfn, expertCounts, ffnSpec, isSparseLayer } from './decoder.js'
import type { Family } from './family.js'

interface MoeOptions {
  readonly intermediate: number
  readonly renormalise: boolean
  readonly sharedIntermediate?: number
}

function moeFfn(fields: ConfigFields, prefix: string, options: MoeOptions): FfnLayerSpec {
  const hidden = fields.size('hidden_size')
  const { numExperts, topK } = expertCounts(fields)
  const mlp = `${prefix}.mlp`
  const shared = options.sharedIntermediate
  return {
    experts: Array.from({ length: numExperts }, (_, e) => ffnSpec(`${mlp}.experts.${e}`, hidden, options.intermediate)),
    gate: {
      weight: { name: `${mlp}.gate.weight`, shape: [numExperts, hidden] },
      topK,
      softmaxOver: 'all',
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
function sparseOrDense(fields: ConfigFields, moe: () => MoeOptions): (layer: number, prefix: string) => FfnLayerSpec {
  const { numExperts } = expertCounts(fields)
  return (layer, prefix) =>
    isSparseLayer(fields, layer, numExperts) ? moeFfn(fields, prefix, moe()) : denseFfn(fields, prefix)
}

export const qwen2Moe: Family = {
  architecture: 'Qwen2MoeForCausalLM',
  spec: (fields) =>
    decoderSpec(fields, {
      qkvBias: fields.flag('qkv_bias', true),
      outputBias: false,
      ffn: sparseOrDense(fields, () => ({
        intermediate: fields.size('moe_intermediate_size'),
        renormalise: fields.flag('norm_topk_prob', false),
        sharedIntermediate: fields.size('shared_expert_intermediate_size'),
      })),
    }),
}

export const qwen3Moe: Family = {
  architecture: 'Qwen3MoeForCausalLM',
  spec: (fields) => {
    const hasBias = fields.flag('attention_bias', false)
    return decoderSpec(fields, {
      qkvBias: hasBias,
      outputBias: hasBias,
      qkNorm: 'head',
      ffn: sparseOrDense(fields, () => ({
        intermediate: fields.size('moe_intermediate_size'),
        renormalise: fields.flag('norm_topk_prob', false),
      })),
    })
  },
}

export const olmoe: Family = {
  architecture: 'OlmoeForCausalLM',
  spec: (fields) => {
    const hasBias = fields.flag('attention_bias', false)
    return decoderSpec(fields, {
      qkvBias: hasBias,
      outputBias: hasBias,
      qkNorm: 'projection',
      ...(fields.has('clip_qkv') ? { clip: fields.number('clip_qkv') } : {}),
      ffn: (_, prefix) =>
        moeFfn(fields, prefix, {
          intermediate: fields.size('intermediate_size'),
          renormalise: fields.flag('norm_topk_prob', false),
        }),
    })
  },
}
