// GLM-4-MoE (GLM-4.5, 4.6): grouped-query attention that rotates half of a head, and DeepSeek-V3's experts.

import { decoderSpec, groupedAttention } from './decoder.js'
import type { Family } from './family.js'
import { sparseAfterDense } from './sigmoid-moe.js'

export const glm4Moe: Family = {
  architecture: 'Glm4MoeForCausalLM',
  defaults: {
    rms_norm_eps: 1e-5,
    partial_rotary_factor: 0.5,
    first_k_dense_replace: 1,
    n_shared_experts: 1,
    routed_scaling_factor: 1,
  },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: groupedAttention(fields, {
        qkvBias: fields.flag('attention_bias', false),
        outputBias: false,
        ...(fields.flag('use_qk_norm', false) && { qkNorm: 'head' }),
      }),
      ffn: sparseAfterDense(fields),
    }),
}
