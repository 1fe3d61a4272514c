// Configurations drawn at random over what real checkpoints vary, each within what its family allows.

import { CASES, type Config } from './configuration-cases.js'

type Fields = Readonly<Record<string, unknown>>

/** The first case of every family, to begin with. */
const FIRST: ReadonlyMap<string, Config> = new Map(
  [...CASES].reverse().map(([, config]) => [config.model_type, config]),
)

export const DRAWN_FAMILIES: readonly string[] = [...FIRST.keys()].sort()

/** A configuration of the family; `random` is uniform in [0, 1). */
export function drawConfiguration(family: string, random: () => number): Config {
  const first = FIRST.get(family)
  if (first === undefined) throw new Error(`want one of ${DRAWN_FAMILIES.join(', ')}, got ${family}`)
  const draw = drawer(random)
  const sized: Config = { ...first, ...sizes(draw) }
  return { ...sized, ...attention(sized, draw), ...experts(sized, draw), ...groups(sized, draw) }
}

interface Draw {
  readonly one: <T>(...of: readonly T[]) => T
  readonly upTo: (most: number) => number // from 1
}

function drawer(random: () => number): Draw {
  const below = (count: number): number => Math.floor(random() * count)
  return { one: (...of) => of[below(of.length)]!, upTo: (most) => 1 + below(most) }
}

function sizes({ one }: Draw) {
  const kvHeads = one(1, 2, 3)
  return {
    num_key_value_heads: kvHeads,
    num_attention_heads: kvHeads * one(1, 2, 3),
    head_dim: 4 * one(2, 3, 4, 5, 8, 11),
    hidden_size: one(34, 40, 50, 64, 72),
    intermediate_size: one(27, 33, 48, 64, 96),
    vocab_size: one(97, 128, 203, 311),
    num_hidden_layers: one(1, 2, 3),
    rms_norm_eps: one(1e-6, 1e-5),
    tie_word_embeddings: one(true, false),
  }
}

const BIASED = [
  'deepseek_v3',
  'gemma3_text',
  'glm4_moe',
  'gpt_oss',
  'granitemoe',
  'llama',
  'olmoe',
  'qwen3',
  'qwen3_moe',
]

function attention(config: Config, { one }: Draw): Fields {
  const { model_type: family, num_attention_heads: heads, head_dim: headDim, num_hidden_layers: layers } = config
  const rotated = one(4, 6, 8)
  return {
    ...(BIASED.includes(family) && { attention_bias: one(true, false) }),
    ...('sliding_window' in config && { sliding_window: one(1, 5, 11, 39, 40, 100) }),
    ...('layer_types' in config && {
      layer_types: Array.from({ length: layers }, () => one('sliding_attention', 'full_attention')),
    }),
    ...(family === 'qwen2_moe' && { qkv_bias: one(true, false) }),
    ...(family === 'glm4_moe' && { use_qk_norm: one(true, false), partial_rotary_factor: one(0.5, 1) }),
    ...(family === 'olmoe' && { clip_qkv: one(null, 0.5, 2), hidden_size: heads * headDim }), // its norms fit nothing else
    ...(family === 'deepseek_v3' && {
      num_key_value_heads: heads,
      head_dim: rotated,
      q_lora_rank: one(null, 17, 24),
      kv_lora_rank: one(18, 20, 32),
      qk_nope_head_dim: one(5, 12, 16),
      qk_rope_head_dim: rotated,
      v_head_dim: one(9, 14, 16),
      rope_interleave: one(true, false),
    }),
  }
}

const NUMBERS_OF_EXPERTS = ['num_experts', 'num_local_experts']
const RENORMALISED = ['deepseek_v3', 'glm4_moe', 'olmoe', 'qwen2_moe', 'qwen3_moe']

function experts(config: Config, { one, upTo }: Draw): Fields {
  const { model_type: family } = config
  const numExperts = one(1, 3, 5, 6, 7, 12, 13)
  const counted = NUMBERS_OF_EXPERTS.filter((key) => key in config)
  return {
    ...('moe_intermediate_size' in config && { moe_intermediate_size: one(21, 32, 48, 64) }),
    ...Object.fromEntries(counted.map((key) => [key, numExperts])),
    ...(counted.length > 0 && { num_experts_per_tok: upTo(numExperts) }),
    ...(RENORMALISED.includes(family) && { norm_topk_prob: one(true, false) }),
    ...(family === 'llama' && { mlp_bias: one(true, false) }),
    ...(family === 'qwen2_moe' && { shared_expert_intermediate_size: one(33, 40, 64) }),
    ...(['qwen2_moe', 'qwen3_moe'].includes(family) && {
      decoder_sparse_step: one(1, 2),
      mlp_only_layers: one([], [0]),
    }),
  }
}

/** The gate of DeepSeek-V3: experts in groups. */
function groups(config: Config, { one, upTo }: Draw): Fields {
  if (!('n_group' in config)) return {}
  const [numGroups, ofEach] = [one(1, 2, 3), one(2, 3, 5)]
  const numChosen = upTo(numGroups)
  return {
    n_group: numGroups,
    n_routed_experts: numGroups * ofEach,
    topk_group: numChosen,
    num_experts_per_tok: upTo(numChosen * ofEach),
    n_shared_experts: config.model_type === 'deepseek_v3' ? one(0, 1, 2) : one(1, 2),
    first_k_dense_replace: one(0, 1, 2),
    routed_scaling_factor: one(1, 2.5),
  }
}
