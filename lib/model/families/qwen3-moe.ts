// Qwen3-MoE: sparse layers, q/k norm per head, one window in every layer where it is switched on.

import { biasedAttention, DECODER_DEFAULTS, decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { sparseOrDense } from './sparse.js'
import { windowEverywhere } from './windows.js'

export const qwen3Moe: Family = {
  architecture: 'Qwen3MoeForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 24,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    max_position_embeddings: 32_768,
    use_sliding_window: false,
    sliding_window: 4096,
    decoder_sparse_step: 1,
    moe_intermediate_size: 768,
    num_experts: 128,
    num_experts_per_tok: 8,
    norm_topk_prob: false,
  },
  spec: (fields) =>
    decoderSpec(fields, {
      attention: biasedAttention(fields, {
        qkNorm: 'head',
        ...(fields.flag('use_sliding_window') && { window: windowEverywhere(fields) }),
      }),
      ffn: sparseOrDense(fields, () => ({
        intermediate: fields.size('moe_intermediate_size'),
        renormalise: fields.flag('norm_topk_prob'),
      })),
    }),
}
