// Qwen2-MoE: sparse layers with a shared expert behind a sigmoid gate, biases on q, k and v, windows in every other one of
// the lower layers where they are switched on.

import type { ConfigFields } from '../config-fields.js'
import { DECODER_DEFAULTS, decoderSpec, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { sparseOrDense } from './sparse.js'
import { layerTypesOf, windowByLayerType, type WindowOf } from './windows.js'

export const qwen2Moe: Family = {
  architecture: 'Qwen2MoeForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    max_position_embeddings: 32_768,
    qkv_bias: true,
    use_sliding_window: false,
    sliding_window: 4096,
    max_window_layers: 28,
    decoder_sparse_step: 1,
    moe_intermediate_size: 1408,
    shared_expert_intermediate_size: 5632,
    num_experts: 60,
    num_experts_per_tok: 4,
    norm_topk_prob: false,
  },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: groupedAttention(fields, {
        qkvBias: fields.flag('qkv_bias'),
        outputBias: false,
        window: lowerWindows(fields),
      }),
      ffn: sparseOrDense(fields, () => ({
        intermediate: fields.size('moe_intermediate_size'),
        renormalise: fields.flag('norm_topk_prob'),
        sharedIntermediate: fields.size('shared_expert_intermediate_size'),
      })),
    }),
}

function lowerWindows(fields: ConfigFields): WindowOf {
  if (!fields.flag('use_sliding_window')) return () => undefined
  const end = fields.count('max_window_layers')
  return windowByLayerType(
    fields,
    layerTypesOf(fields, (layer) => layer % 2 === 0 && layer < end),
  )
}
