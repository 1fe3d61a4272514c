// Gemma-3 text: norms of (1 + weight) before and after both halves of a layer and over each head's q and k, embeddings
// times √hidden, gelu, five layers with a window and a rotation of their own for each one without.

import type { ConfigFields } from '../config-fields.js'
import { vectorRef } from '../config-fields.js'
import { ropesByLayerType } from '../rope-config.js'
import type { AttentionSpec, ModelSpec, TensorRef } from '../spec.js'
import {
  activationOf,
  biasedAttention,
  DECODER_DEFAULTS,
  decoderSpec,
  denseFfn,
  headSizes,
  mapLayers,
  scaled,
} from './decoder.js'
import type { Family } from './family.js'
import { layerTypesOf, windowByLayerType } from './windows.js'

/** The published files of the larger models leave many keys out. */
const DEFAULTS = {
  ...DECODER_DEFAULTS,
  vocab_size: 262_208,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  hidden_activation: 'gelu_pytorch_tanh',
  max_position_embeddings: 131_072,
  rope_theta: 1e6,
  rope_local_base_freq: 1e4,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  sliding_window_pattern: 6,
  tie_word_embeddings: true,
  eos_token_id: 1,
  bos_token_id: 2,
}

export const gemma3: Family = {
  architecture: 'Gemma3ForCausalLM',
  defaults: DEFAULTS,
  spec: (fields) => textSpec(fields, ''),
}

/** The text half of a model that also takes images. */
export const gemma3Conditional: Family = {
  architecture: 'Gemma3ForConditionalGeneration',
  defaults: { tie_word_embeddings: true },
  spec: (fields) => {
    const shared = ['eos_token_id', 'bos_token_id', 'tie_word_embeddings'].filter((key) => fields.has(key))
    const outer = Object.fromEntries(shared.map((key) => [key, fields.raw(key)]))
    const text = fields.section('text_config').withDefaults({ model_type: 'gemma3_text', ...DEFAULTS })
    return textSpec(text.with(outer), 'language_model.')
  },
}

function textSpec(fields: ConfigFields, prefix: string): ModelSpec {
  for (const key of ['attn_logit_softcapping', 'final_logit_softcapping'])
    if (fields.has(key)) fields.refuse(key, 'none: this version caps no logits')
  if (fields.flag('use_bidirectional_attention', false)) fields.refuse('use_bidirectional_attention', 'false')
  const hidden = fields.size('hidden_size')
  const spec = decoderSpec(fields, {
    prefix,
    attention: attentionOf(fields),
    ffn: (_, name) => denseFfn(fields, name),
    activation: activationOf(fields, 'hidden_activation'),
  })
  return {
    ...mapLayers(spec, (layer, index) => {
      const name = `${prefix}model.layers.${index}`
      return {
        ...layer,
        attentionNorm: plusOne(layer.attentionNorm),
        attentionPostNorm: plusOne(vectorRef(`${name}.post_attention_layernorm`, hidden)),
        ffnNorm: plusOne(vectorRef(`${name}.pre_feedforward_layernorm`, hidden)),
        ffnPostNorm: plusOne(vectorRef(`${name}.post_feedforward_layernorm`, hidden)),
      }
    }),
    finalNorm: plusOne(spec.finalNorm),
    embedding: scaled(spec.embedding, Math.fround(Math.sqrt(hidden))),
  }
}

const plusOne = (ref: TensorRef): TensorRef => ({ ...ref, plus: 1 })

function attentionOf(fields: ConfigFields): (layer: number, prefix: string) => AttentionSpec {
  const pattern = fields.size('sliding_window_pattern')
  const types = layerTypesOf(fields, (layer) => (layer + 1) % pattern !== 0)
  const { headDim } = headSizes(fields, fields.size('hidden_size'))
  const ropes = ropesByLayerType(fields, headDim)
  const scalar = fields.number('query_pre_attn_scalar')
  if (scalar <= 0) fields.refuse('query_pre_attn_scalar', 'a positive number')
  const grouped = biasedAttention(fields, {
    qkNorm: 'head',
    window: windowByLayerType(fields, types),
    rope: (layer) => (types[layer] === 'sliding_attention' ? ropes.sliding_attention : ropes.full_attention),
    scale: 1 / Math.sqrt(scalar),
  })
  return (layer, prefix) => {
    const attention = grouped(layer, prefix)
    if (attention.kind !== 'grouped' || attention.qkNorm === undefined) return attention
    const { over, q, k } = attention.qkNorm
    return { ...attention, qkNorm: { over, q: plusOne(q), k: plusOne(k) } }
  }
}
