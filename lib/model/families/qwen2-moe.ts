// Qwen2-MoE: sparse layers with a shared expert behind a sigmoid gate, biases on q, k and v.

import { decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { sparseOrDense } from './sparse.js'

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
