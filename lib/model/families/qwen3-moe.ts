// Qwen3-MoE: sparse layers, q/k norm per head.

import { decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { sparseOrDense } from './sparse.js'

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
