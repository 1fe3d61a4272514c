// DeepSeek-V3: latent attention, a sigmoid gate that chooses among groups with a correction, shared experts, first layers
// dense. Its layers for predicting several tokens at once are not read.

import type { ConfigFields } from '../config-fields.js'
import { linearRef, vectorRef } from '../config-fields.js'
import { ropeOf, scoreFactor } from '../rope-config.js'
import type { LatentAttentionSpec, LinearRef, TensorRef } from '../spec.js'
import { DECODER_DEFAULTS, decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { sparseAfterDense } from './sigmoid-moe.js'

export const deepseekV3: Family = {
  architecture: 'DeepseekV3ForCausalLM',
  defaults: {
    ...DECODER_DEFAULTS,
    vocab_size: 129_280,
    hidden_size: 7168,
    intermediate_size: 18_432,
    num_hidden_layers: 61,
    num_attention_heads: 128,
    q_lora_rank: 1536,
    kv_lora_rank: 512,
    qk_nope_head_dim: 128,
    qk_rope_head_dim: 64,
    v_head_dim: 128,
    rope_interleave: true,
    max_position_embeddings: 4096,
    moe_intermediate_size: 2048,
    n_routed_experts: 256,
    n_shared_experts: 1,
    num_experts_per_tok: 8,
    n_group: 8,
    topk_group: 4,
    first_k_dense_replace: 3,
    norm_topk_prob: true,
    routed_scaling_factor: 2.5,
    bos_token_id: 0,
    eos_token_id: 1,
  },
  spec: (fields) => decoderSpec(fields, { attention: latentAttention(fields), ffn: sparseAfterDense(fields) }),
}

/** The norms inside attention have their own, whatever `rms_norm_eps` says. */
const INNER_EPSILON = 1e-6

function latentAttention(fields: ConfigFields): (layer: number, prefix: string) => LatentAttentionSpec {
  const hidden = fields.size('hidden_size')
  const numHeads = fields.size('num_attention_heads')
  const latentDim = fields.size('kv_lora_rank')
  const plainDim = fields.size('qk_nope_head_dim')
  const rotatedDim = fields.size('qk_rope_head_dim')
  const valueDim = fields.size('v_head_dim')
  if (rotatedDim % 2 !== 0) fields.refuse('qk_rope_head_dim', 'an even number')
  if (latentDim % 2 !== 0) fields.refuse('kv_lora_rank', 'an even number')
  const rope = ropeOf(fields, rotatedDim)
  const width = plainDim + rotatedDim
  const scale = scoreFactor(fields) / Math.sqrt(width)
  const hasBias = fields.flag('attention_bias')
  const isInterleaved = fields.flag('rope_interleave', false)
  const queries = (name: string, inputs: number): LinearRef => {
    const linear = linearRef(name, numHeads * width, inputs)
    return isInterleaved ? halvesApart(linear, { every: width, from: plainDim, dims: rotatedDim }) : linear
  }
  const rank = fields.has('q_lora_rank') ? fields.size('q_lora_rank') : undefined
  return (_, prefix) => {
    const kvDown = linearRef(`${prefix}.kv_a_proj_with_mqa`, latentDim + rotatedDim, hidden, hasBias)
    return {
      kind: 'latent',
      numHeads,
      latentDim,
      plainDim,
      rotatedDim,
      valueDim,
      normEpsilon: INNER_EPSILON,
      rope,
      scale,
      q:
        rank === undefined
          ? queries(`${prefix}.q_proj`, hidden)
          : {
              down: linearRef(`${prefix}.q_a_proj`, rank, hidden, hasBias),
              norm: vectorRef(`${prefix}.q_a_layernorm`, rank),
              up: queries(`${prefix}.q_b_proj`, rank),
            },
      kvDown: isInterleaved
        ? halvesApart(kvDown, { every: latentDim + rotatedDim, from: latentDim, dims: rotatedDim })
        : kvDown,
      latentNorm: vectorRef(`${prefix}.kv_a_layernorm`, latentDim),
      kvUp: linearRef(`${prefix}.kv_b_proj`, numHeads * (plainDim + valueDim), latentDim),
      o: linearRef(`${prefix}.o_proj`, hidden, numHeads * valueDim, hasBias),
    }
  }
}

/** Where rotated rows lie: `dims` of them, `from` rows into each `every`. */
interface RotatedRows {
  readonly every: number
  readonly from: number
  readonly dims: number
}

/** The linear layer whose rotated rows are published as pairs side by side, with the halves of a pair apart. */
function halvesApart({ weight, bias }: LinearRef, { every, from, dims }: RotatedRows): LinearRef {
  const rowOf = (row: number): number => {
    const at = (row % every) - from
    if (at < 0 || at >= dims) return row
    return row - at + (at < dims / 2 ? 2 * at : 2 * at - dims + 1)
  }
  const reordered = (ref: TensorRef): TensorRef => ({ ...ref, part: { stored: ref.shape, rowOf } })
  return { weight: reordered(weight), ...(bias && { bias: reordered(bias) }) }
}
