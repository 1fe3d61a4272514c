// Qwen3-MoE: sparse layers, q/k norm per head, one window in every layer where it is switched on.

import { biasedAttention, decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { QWEN_WINDOWS } from './qwen2.js'
import { sparseOrDense } from './sparse.js'
import { windowEverywhere } from './windows.js'

export const qwen3Moe: Family = {
  architecture: 'Qwen3MoeForCausalLM',
  defaults: QWEN_WINDOWS,
  spec: (fields) =>
    decoderSpec(fields, {
      attention: biasedAttention(fields, {
        qkNorm: 'head',
        ...(fields.flag('use_sliding_window', false) && { window: windowEverywhere(fields) }),
      }),
      ffn: sparseOrDense(fields, () => ({
        intermediate: fields.size('moe_intermediate_size'),
        renormalise: fields.flag('norm_topk_prob', false),
      })),
    }),
}
