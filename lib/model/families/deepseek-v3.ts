// DeepSeek-V3: latent attention, a sigmoid gate that chooses among groups with a correction, shared experts, first layers
// dense. Its layers for predicting several tokens at once are not read.

import type { ConfigFields } from '../config-fields.js'
import { linearRef, vectorRef } from '../config-fields.js'
import { ropeOf, scoreFactor } from '../rope-config.js'
import type { LatentAttentionSpec, LinearRef, TensorRef } from '../spec.js'
import { decoderSpec } from './decoder.js'
import type { Family } from './family.js'
import { sparseAfterDense } from './sigmoid-moe.js'

export const deepseekV3: Family = {
  architecture: 'DeepseekV3ForCausalLM',
  defaults: { n_group: 8, topk_group: 4, first_k_dense_replace: 3, n_shared_experts: 1, routed_scaling_factor: 2.5 },
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
  if (rope.dims !== undefined)
    fields.refuse('partial_rotary_factor', '1: the rotated part of a head is qk_rope_head_dim')
  const width = plainDim + rotatedDim
  const scale = scoreFactor(fields) / Math.sqrt(width)
  const hasBias = fields.flag('attention_bias', false)
  const isInterleaved = fields.flag('rope_interleave', true)
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
