// GLM-4-MoE (GLM-4.5, 4.6): grouped-query attention that rotates half of a head, and DeepSeek-V3's experts.

import { DECODER_DEFAULTS, decoderSpec, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { sparseAfterDense } from './sigmoid-moe.js'

export const glm4Moe: Family = {
  architecture: 'Glm4MoeForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 151_552,
    hidden_size: 4096,
    intermediate_size: 10_944,
    num_hidden_layers: 46,
    num_attention_heads: 96,
    num_key_value_heads: 8,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    partial_rotary_factor: 0.5,
    use_qk_norm: false,
    moe_intermediate_size: 1408,
    n_routed_experts: 128,
    n_shared_experts: 1,
    num_experts_per_tok: 8,
    n_group: 1,
    topk_group: 1,
    first_k_dense_replace: 1,
    norm_topk_prob: true,
    routed_scaling_factor: 1,
  },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: groupedAttention(fields, {
        qkvBias: fields.flag('attention_bias'),
        outputBias: false,
        rotatesPart: true,
        ...(fields.flag('use_qk_norm') && { qkNorm: 'head' }),
      }),
      ffn: sparseAfterDense(fields),
    }),
}
