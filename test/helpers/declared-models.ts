// Configurations of models that are not at hand, as families read them: sizes and plans need no weights.

import { specOf } from '../../lib/model/families/registry.js'
import type { ModelSpec } from '../../lib/model/spec.js'

/** Qwen3-30B-A3B's shape. */
export const QWEN3_30B_A3B = {
  architectures: ['Qwen3MoeForCausalLM'],
  model_type: 'qwen3_moe',
  vocab_size: 151_936,
  hidden_size: 2048,
  intermediate_size: 6144,
  moe_intermediate_size: 768,
  num_hidden_layers: 48,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  head_dim: 128,
  num_experts: 128,
  num_experts_per_tok: 8,
  norm_topk_prob: true,
  decoder_sparse_step: 1,
  mlp_only_layers: [],
  hidden_act: 'silu',
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  max_position_embeddings: 40_960,
  tie_word_embeddings: false,
  attention_bias: false,
  eos_token_id: 151_645,
} as const

/** The checkpoint of 0.4 GB that the benches make. */
export const SYNTHETIC_0_4 = {
  ...QWEN3_30B_A3B,
  vocab_size: 32_000,
  hidden_size: 1024,
  intermediate_size: 128,
  moe_intermediate_size: 128,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  head_dim: 64,
  num_experts: 32,
  num_experts_per_tok: 4,
  max_position_embeddings: 4096,
  eos_token_id: 0,
} as const

export const declaredSpec = (config: Readonly<Record<string, unknown>>): ModelSpec => specOf(config, 'config.json')
