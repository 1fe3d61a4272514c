// A slow reference in float64 that shares no code with the product: it reads tensors by their published names and
// computes with loops. For judging configurations that the goldens do not have; every key that it needs must be there.

import { referenceAttention } from './reference-attention.js'
import { referenceFfn } from './reference-ffn.js'
import type { Rope } from './reference-rope.js'
import { plus, referenceTensors, type Vector, type Weights } from './reference-tensors.js'

export interface ReferenceConfig {
  readonly model_type: string
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly head_dim: number
  readonly num_hidden_layers: number
  readonly vocab_size: number
  readonly rms_norm_eps: number
  readonly max_position_embeddings: number
  readonly num_experts?: number
  readonly num_local_experts?: number
  readonly n_routed_experts?: number
  readonly num_experts_per_tok?: number
  readonly mlp_only_layers?: readonly number[]
  readonly decoder_sparse_step?: number
  readonly first_k_dense_replace?: number
  readonly norm_topk_prob?: boolean
  readonly clip_qkv?: number | null
  readonly tie_word_embeddings?: boolean
  readonly partial_rotary_factor?: number
  readonly rope_parameters: Rope | Readonly<Record<string, Rope>>
  readonly layer_types?: readonly string[]
  readonly sliding_window?: number
  readonly use_sliding_window?: boolean
  readonly n_group?: number
  readonly topk_group?: number
  readonly routed_scaling_factor?: number
  readonly kv_lora_rank?: number
  readonly q_lora_rank?: number | null
  readonly qk_nope_head_dim?: number
  readonly qk_rope_head_dim?: number
  readonly v_head_dim?: number
  readonly rope_interleave?: boolean
  readonly attention_multiplier?: number
  readonly embedding_multiplier?: number
  readonly residual_multiplier?: number
  readonly logits_scaling?: number
  readonly query_pre_attn_scalar?: number
  readonly swiglu_limit?: number
}

export function referenceLogits(config: ReferenceConfig, weights: Weights, tokens: readonly number[]): number[][] {
  const isGemma = config.model_type === 'gemma3_text'
  const tensors = referenceTensors(weights, isGemma)
  const { hidden_size: width, rms_norm_eps: epsilon } = config
  const embedding = tensors.get('model.embed_tokens.weight')
  const times = config.embedding_multiplier ?? (isGemma ? Math.sqrt(width) : 1)
  const residual = config.residual_multiplier ?? 1
  const norm = (layer: number, name: string, x: Vector): Vector =>
    tensors.norm(`model.layers.${layer}.${name}`, x, epsilon)
  let xs: Vector[] = tokens.map((token) =>
    Array.from({ length: width }, (_, i) => times * Number(embedding[token * width + i])),
  )
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const attended = referenceAttention(
      config,
      tensors,
      layer,
      xs.map((x) => norm(layer, 'input_layernorm', x)),
    )
    const after = (x: Vector): Vector => (isGemma ? norm(layer, 'post_attention_layernorm', x) : x)
    xs = xs.map((x, t) => plus(x, after(attended[t] ?? []), residual))
    xs = xs.map((x) => {
      const y = referenceFfn(
        config,
        tensors,
        layer,
        norm(layer, isGemma ? 'pre_feedforward_layernorm' : 'post_attention_layernorm', x),
      )
      return plus(x, isGemma ? norm(layer, 'post_feedforward_layernorm', y) : y, residual)
    })
  }
  const head = config.tie_word_embeddings === true ? 'model.embed_tokens' : 'lm_head'
  const scaling = config.logits_scaling ?? 1
  return xs.map((x) => tensors.linear(head, tensors.norm('model.norm', x, epsilon)).map((v) => v / scaling))
}
