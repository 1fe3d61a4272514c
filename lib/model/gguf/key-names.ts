// The keys of a GGUF file that those of a `config.json` are read from, for errors: who has the file knows no other.

import type { KeyNames } from '../config-fields.js'
import type { GgufHeader } from './header.js'

/** Endings of `{architecture}.` that the keys of a configuration are read from. */
const NAMES: Readonly<Record<string, string>> = {
  vocab_size: 'vocab_size',
  hidden_size: 'embedding_length',
  intermediate_size: 'feed_forward_length',
  num_hidden_layers: 'block_count',
  num_attention_heads: 'attention.head_count',
  num_key_value_heads: 'attention.head_count_kv',
  head_dim: 'attention.key_length',
  query_pre_attn_scalar: 'attention.key_length',
  max_position_embeddings: 'context_length',
  rms_norm_eps: 'attention.layer_norm_rms_epsilon',
  rope_theta: 'rope.freq_base',
  rope_local_base_freq: 'rope.freq_base_swa',
  factor: 'rope.scaling.factor',
  original_max_position_embeddings: 'rope.scaling.original_context_length',
  beta_fast: 'rope.scaling.yarn_beta_fast',
  beta_slow: 'rope.scaling.yarn_beta_slow',
  attention_factor: 'rope.scaling.attn_factor',
  num_experts: 'expert_count',
  num_local_experts: 'expert_count',
  num_experts_per_tok: 'expert_used_count',
  moe_intermediate_size: 'expert_feed_forward_length',
  shared_expert_intermediate_size: 'expert_shared_feed_forward_length',
  norm_topk_prob: 'expert_weights_norm',
  sliding_window: 'attention.sliding_window',
  sliding_window_pattern: 'attention.sliding_window_pattern',
  clip_qkv: 'attention.clamp_kqv',
  embedding_multiplier: 'embedding_scale',
  attention_multiplier: 'attention.scale',
  residual_multiplier: 'residual_scale',
  logits_scaling: 'logit_scale',
}

/** The file's own keys for those of the configuration. */
export function keyNamesOf({ fields }: GgufHeader): KeyNames {
  const architecture = fields.text('general.architecture')
  const own = architecture === 'gpt-oss' ? { ...NAMES, intermediate_size: NAMES.moe_intermediate_size } : NAMES
  return Object.fromEntries(Object.entries(own).map(([key, ending]) => [key, `${architecture}.${ending}`]))
}
