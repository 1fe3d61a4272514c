// Configurations over what real ones vary and the goldens do not.

import type { ReferenceConfig } from './reference-model.js'

export type Config = ReferenceConfig & Readonly<Record<string, unknown>>

const base = {
  hidden_size: 64,
  intermediate_size: 96,
  moe_intermediate_size: 48,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  num_hidden_layers: 2,
  vocab_size: 311,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 256,
  eos_token_id: 0,
  rope_parameters: { rope_type: 'default', rope_theta: 10_000 },
}
const llama = { ...base, model_type: 'llama', architectures: ['LlamaForCausalLM'] }
const qwen3 = { ...base, model_type: 'qwen3', architectures: ['Qwen3ForCausalLM'] }
const qwen3Moe = {
  ...base,
  model_type: 'qwen3_moe',
  architectures: ['Qwen3MoeForCausalLM'],
  num_experts: 10,
  num_experts_per_tok: 3,
}
const qwen2Moe = {
  ...base,
  model_type: 'qwen2_moe',
  architectures: ['Qwen2MoeForCausalLM'],
  num_experts: 6,
  num_experts_per_tok: 2,
  shared_expert_intermediate_size: 40,
}
const olmoe = {
  ...base,
  model_type: 'olmoe',
  architectures: ['OlmoeForCausalLM'],
  num_experts: 5,
  num_experts_per_tok: 2,
  num_key_value_heads: 4,
}
const mixtral = {
  ...base,
  model_type: 'mixtral',
  architectures: ['MixtralForCausalLM'],
  num_local_experts: 3,
  num_experts: 3,
  num_experts_per_tok: 2,
}

const mistral = { ...base, model_type: 'mistral', architectures: ['MistralForCausalLM'], sliding_window: 11 }
const qwen2 = { ...base, model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'] }
const gemma3 = {
  ...base,
  model_type: 'gemma3_text',
  architectures: ['Gemma3ForCausalLM'],
  tie_word_embeddings: true,
  query_pre_attn_scalar: 24,
  sliding_window: 9,
  layer_types: ['sliding_attention', 'full_attention'],
  rope_parameters: {
    full_attention: { rope_type: 'linear', factor: 4, rope_theta: 1e6 },
    sliding_attention: { rope_type: 'default', rope_theta: 1e4 },
  },
}
const granite = {
  ...base,
  model_type: 'granitemoe',
  architectures: ['GraniteMoeForCausalLM'],
  num_local_experts: 5,
  num_experts_per_tok: 3,
  embedding_multiplier: 3,
  attention_multiplier: 0.1,
  residual_multiplier: 0.5,
  logits_scaling: 2,
}
const gptOss = {
  ...base,
  model_type: 'gpt_oss',
  architectures: ['GptOssForCausalLM'],
  intermediate_size: 48,
  num_local_experts: 5,
  num_experts_per_tok: 2,
  swiglu_limit: 0.5,
  sliding_window: 10,
  layer_types: ['sliding_attention', 'full_attention'],
}
const yarn = {
  rope_type: 'yarn',
  rope_theta: 10_000,
  factor: 4,
  original_max_position_embeddings: 16,
  beta_fast: 4,
  beta_slow: 1,
}
const deepseek = {
  ...base,
  model_type: 'deepseek_v3',
  architectures: ['DeepseekV3ForCausalLM'],
  q_lora_rank: 24,
  kv_lora_rank: 20,
  qk_nope_head_dim: 12,
  qk_rope_head_dim: 8,
  v_head_dim: 14,
  n_routed_experts: 12,
  num_experts_per_tok: 3,
  n_group: 4,
  topk_group: 2,
  n_shared_experts: 1,
  first_k_dense_replace: 1,
  routed_scaling_factor: 1.5,
  norm_topk_prob: true,
}
const glm4 = {
  ...base,
  model_type: 'glm4_moe',
  architectures: ['Glm4MoeForCausalLM'],
  partial_rotary_factor: 0.5,
  n_routed_experts: 6,
  num_experts_per_tok: 2,
  n_group: 1,
  topk_group: 1,
  n_shared_experts: 1,
  first_k_dense_replace: 1,
  routed_scaling_factor: 1,
  norm_topk_prob: true,
}

export const CASES: readonly (readonly [title: string, config: Config])[] = [
  ['one KV head', { ...llama, num_key_value_heads: 1 }],
  ['as many KV heads as heads', { ...llama, num_key_value_heads: 4 }],
  [
    'three query heads on each KV head, odd sizes',
    { ...llama, num_attention_heads: 6, num_key_value_heads: 2, head_dim: 10, intermediate_size: 33 },
  ],
  ['a hidden size that is no multiple of 32', { ...llama, hidden_size: 40 }],
  ['biases everywhere', { ...llama, attention_bias: true, mlp_bias: true }],
  ['tied embeddings, head_dim wider than hidden / heads', { ...qwen3, tie_word_embeddings: true, head_dim: 32 }],
  [
    'Llama 3 rope',
    {
      ...llama,
      rope_parameters: {
        rope_type: 'llama3',
        rope_theta: 5e5,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 32,
      },
    },
  ],
  ['10 experts, top 3, renormalised', { ...qwen3Moe, norm_topk_prob: true }],
  ['10 experts, top 3, not renormalised', { ...qwen3Moe, norm_topk_prob: false }],
  ['one expert', { ...qwen3Moe, num_experts: 1, num_experts_per_tok: 1, norm_topk_prob: false }],
  ['all experts chosen', { ...qwen3Moe, num_experts: 4, num_experts_per_tok: 4 }],
  ['dense layers by mlp_only_layers', { ...qwen3Moe, num_hidden_layers: 3, mlp_only_layers: [0, 2] }],
  ['dense layers by decoder_sparse_step', { ...qwen2Moe, num_hidden_layers: 3, decoder_sparse_step: 2 }],
  ['a shared expert, without q/k/v bias', { ...qwen2Moe, qkv_bias: false }],
  ['a shared expert, renormalised', { ...qwen2Moe, norm_topk_prob: true }],
  ['clip_qkv', { ...olmoe, clip_qkv: 0.5 }],
  ['q/k norm over the whole projection, renormalised', { ...olmoe, norm_topk_prob: true }],
  ['three experts, softmax over the chosen', mixtral],
  // Rotary variants
  ['linear rope', { ...llama, rope_parameters: { rope_type: 'linear', rope_theta: 1e4, factor: 3 } }],
  ['YaRN, the ramp between whole dimensions', { ...llama, rope_parameters: yarn }],
  [
    'YaRN, the ramp as it falls, a given factor',
    { ...qwen3, rope_parameters: { ...yarn, truncate: false, attention_factor: 1.3 } },
  ],
  [
    'dynamic rope inside its trained length',
    { ...llama, rope_parameters: { rope_type: 'dynamic', rope_theta: 1e4, factor: 2 } },
  ],
  [
    'a quarter of a head rotated, q/k norm, YaRN',
    { ...glm4, head_dim: 24, use_qk_norm: true, partial_rotary_factor: 0.25, rope_parameters: yarn },
  ],
  ['half of a head rotated, odd sizes', { ...glm4, head_dim: 20, vocab_size: 97, num_hidden_layers: 1 }],
  // Windows
  ['a window in every layer, one KV head', { ...mistral, num_key_value_heads: 1 }],
  ['a window of one position', { ...mistral, sliding_window: 1 }],
  ['a window of sparse layers', { ...mixtral, sliding_window: 13 }],
  [
    'windows by layer type, head_dim of its own',
    {
      ...qwen2,
      head_dim: 22,
      use_sliding_window: true,
      sliding_window: 7,
      layer_types: ['full_attention', 'sliding_attention'],
    },
  ],
  ['a window where it is switched on', { ...qwen3Moe, use_sliding_window: true, sliding_window: 12 }],
  // Gemma-3
  ['norms on both sides, two rotations', gemma3],
  [
    'Gemma untied, biased, an odd head',
    { ...gemma3, tie_word_embeddings: false, attention_bias: true, head_dim: 18, num_key_value_heads: 1 },
  ],
  // Granite-MoE
  ['multipliers and fused experts', granite],
  [
    'multipliers on a tied embedding, biases, all experts chosen',
    { ...granite, tie_word_embeddings: true, attention_bias: true, num_experts_per_tok: 5 },
  ],
  ['fused experts of a hidden size that is no multiple of 4', { ...granite, hidden_size: 42, intermediate_size: 30 }],
  // gpt-oss
  ['sinks, windows, biases and clamped experts', gptOss],
  [
    'sinks without biases, one KV head, one expert, odd sizes',
    {
      ...gptOss,
      attention_bias: false,
      num_key_value_heads: 1,
      num_local_experts: 1,
      num_experts_per_tok: 1,
      intermediate_size: 27,
      head_dim: 10,
    },
  ],
  [
    'sinks with YaRN and tied embeddings',
    { ...gptOss, rope_parameters: { ...yarn, truncate: false }, tie_word_embeddings: true },
  ],
  // DeepSeek-V3
  ['latent attention, groups, a shared expert, the first layer dense', deepseek],
  [
    'q without LoRA, one group, no shared expert, biases',
    {
      ...deepseek,
      q_lora_rank: null,
      n_group: 1,
      topk_group: 1,
      n_shared_experts: 0,
      attention_bias: true,
      first_k_dense_replace: 0,
    },
  ],
  [
    'rotated halves apart, not renormalised, YaRN in the scale',
    {
      ...deepseek,
      rope_interleave: false,
      norm_topk_prob: false,
      rope_parameters: { ...yarn, mscale: 0.8, mscale_all_dim: 1 },
    },
  ],
  [
    'one head, odd sizes, two shared experts, all layers dense but the last',
    {
      ...deepseek,
      num_attention_heads: 1,
      num_key_value_heads: 1,
      v_head_dim: 9,
      kv_lora_rank: 18,
      n_shared_experts: 2,
      num_hidden_layers: 3,
      first_k_dense_replace: 2,
    },
  ],
  // GLM-4-MoE
  ['half of a head rotated, the gate of DeepSeek-V3', glm4],
  [
    'the same with q/k norm, biases and groups',
    { ...glm4, use_qk_norm: true, attention_bias: true, n_group: 3, topk_group: 2 },
  ],
]

/** Sizes that are no multiples of 32, beside some that are. */
export const UNEVEN: readonly (readonly [title: string, config: Config])[] = [
  ['an uneven hidden size', { ...llama, hidden_size: 40 }],
  ['an uneven FFN, fused experts', { ...granite, intermediate_size: 30 }],
  ['an uneven latent vector', deepseek],
]
