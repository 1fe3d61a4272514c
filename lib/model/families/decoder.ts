// What the Llama-shaped families share: names and sizes of a pre-norm decoder with grouped-query attention. A family
// file says only where it differs.

import { eosOf, EXPERT_COUNTS, linearRef, vectorRef, type ConfigFields } from '../config-fields.js'
import { maxPositionsOf, ropeOf } from '../rope-config.js'
import {
  SILU,
  type Activation,
  type AttentionSpec,
  type FfnLayerSpec,
  type FfnSpec,
  type LayerSpec,
  type LinearRef,
  type ModelSpec,
  type RopeSpec,
  type TensorRef,
} from '../spec.js'
import type { WindowOf } from './windows.js'

/** What the configuration classes of most families take for absent keys. */
export const DECODER_DEFAULTS = {
  hidden_act: 'silu',
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  attention_bias: false,
  tie_word_embeddings: false,
} as const

type PerLayer<T> = (layer: number, prefix: string) => T

export interface DecoderOptions {
  readonly attention: PerLayer<AttentionSpec>
  readonly ffn: PerLayer<FfnLayerSpec>
  readonly activation?: Activation // by `hidden_act`, unless given
  readonly prefix?: string // of every tensor's name
}

/** Builds the spec of a pre-norm decoder. */
export function decoderSpec(fields: ConfigFields, options: DecoderOptions): ModelSpec {
  const { prefix = '', activation = activationOf(fields) } = options
  const hidden = fields.size('hidden_size')
  const vocabSize = fields.size('vocab_size')
  const numLayers = fields.size('num_hidden_layers')
  const embedding = { name: `${prefix}model.embed_tokens.weight`, shape: [vocabSize, hidden] }
  const idsOf = (key: string) => eosOf(fields.raw(key)) ?? fields.refuse(key, 'an id or a list of ids')
  const bos = idsOf('bos_token_id')[0]
  return {
    family: fields.family,
    hidden,
    vocabSize,
    maxPositions: maxPositionsOf(fields),
    normEpsilon: fields.number('rms_norm_eps'),
    layers: Array.from({ length: numLayers }, (_, layer) => {
      const name = `${prefix}model.layers.${layer}`
      return {
        attentionNorm: vectorRef(`${name}.input_layernorm`, hidden),
        attention: options.attention(layer, `${name}.self_attn`),
        ffnNorm: vectorRef(`${name}.post_attention_layernorm`, hidden),
        ffn: withActivation(options.ffn(layer, name), activation),
      }
    }),
    embedding,
    finalNorm: vectorRef(`${prefix}model.norm`, hidden),
    lmHead: fields.flag('tie_word_embeddings')
      ? { weight: embedding }
      : linearRef(`${prefix}lm_head`, vocabSize, hidden),
    eosTokenIds: idsOf('eos_token_id'),
    ...(bos === undefined ? {} : { bosTokenId: bos }),
  }
}

/** The activation that a configuration names. */
export function activationOf(fields: ConfigFields, key = 'hidden_act'): Activation {
  switch (fields.raw(key)) {
    case 'silu':
    case 'swish':
      return SILU
    case 'gelu_pytorch_tanh':
    case 'gelu_new':
      return { type: 'gelu' }
    default:
      return fields.refuse(key, '"silu" or "gelu_pytorch_tanh"')
  }
}

function withActivation(layer: FfnLayerSpec, activation: Activation): FfnLayerSpec {
  if (activation.type === 'silu') return layer
  const { experts, always } = layer
  return {
    ...layer,
    experts: experts.map((expert) => ({ ...expert, activation })),
    ...(always && { always: { ...always, ffn: { ...always.ffn, activation } } }),
  }
}

/** The spec with every layer changed. */
export const mapLayers = (spec: ModelSpec, change: (layer: LayerSpec, index: number) => LayerSpec): ModelSpec => ({
  ...spec,
  layers: spec.layers.map(change),
})

/** The tensor with its values multiplied. */
export const scaled = (ref: TensorRef, times: number): TensorRef => (times === 1 ? ref : { ...ref, times })

/** The linear layer with what it gives multiplied. */
export const scaledLinear = ({ weight, bias }: LinearRef, times: number): LinearRef => ({
  weight: scaled(weight, times),
  ...(bias && { bias: scaled(bias, times) }),
})

export interface GroupedOptions {
  readonly qkvBias: boolean
  readonly outputBias: boolean
  readonly qkNorm?: 'head' | 'projection'
  readonly clip?: number
  readonly window?: WindowOf
  readonly rope?: (layer: number) => RopeSpec // the same in every layer, unless given
  readonly rotatesPart?: boolean // of a head, by `partial_rotary_factor`
  readonly scale?: number
  readonly hasSinks?: boolean
}

/** Grouped-query attention with `attention_bias` on all projections or none. */
export function biasedAttention(
  fields: ConfigFields,
  options: Omit<GroupedOptions, 'qkvBias' | 'outputBias'> = {},
): PerLayer<AttentionSpec> {
  const hasBias = fields.flag('attention_bias')
  return groupedAttention(fields, { ...options, qkvBias: hasBias, outputBias: hasBias })
}

/** Grouped-query attention under the names that Llama gave it. */
export function groupedAttention(fields: ConfigFields, options: GroupedOptions): PerLayer<AttentionSpec> {
  const hidden = fields.size('hidden_size')
  const { numHeads, numKvHeads, headDim } = headSizes(fields, hidden)
  const qSize = numHeads * headDim
  const kvSize = numKvHeads * headDim
  const { qkNorm, clip, scale } = options
  const ropeOfLayer = options.rope ?? constant(ropeOf(fields, headDim, options.rotatesPart))
  const normSizes = qkNorm === 'head' ? { q: headDim, k: headDim } : { q: qSize, k: kvSize }
  return (layer, prefix) => {
    const window = options.window?.(layer)
    return {
      kind: 'grouped',
      rope: ropeOfLayer(layer),
      numHeads,
      numKvHeads,
      headDim,
      q: linearRef(`${prefix}.q_proj`, qSize, hidden, options.qkvBias),
      k: linearRef(`${prefix}.k_proj`, kvSize, hidden, options.qkvBias),
      v: linearRef(`${prefix}.v_proj`, kvSize, hidden, options.qkvBias),
      o: linearRef(`${prefix}.o_proj`, hidden, qSize, options.outputBias),
      ...(qkNorm && {
        qkNorm: {
          over: qkNorm,
          q: vectorRef(`${prefix}.q_norm`, normSizes.q),
          k: vectorRef(`${prefix}.k_norm`, normSizes.k),
        },
      }),
      ...(clip !== undefined && { clip }),
      ...(scale !== undefined && { scale }),
      ...(window !== undefined && { window }),
      ...(options.hasSinks === true && { sinks: { name: `${prefix}.sinks`, shape: [numHeads] } }),
    }
  }
}

const constant =
  <T>(value: T) =>
  (): T =>
    value

/** Numbers of heads and their width: a null is as many KV heads as heads, and a head that is its part of the hidden size. */
export function headSizes(fields: ConfigFields, hidden: number) {
  const numHeads = fields.size('num_attention_heads')
  const numKvHeads = fields.size('num_key_value_heads', numHeads)
  if (numHeads % numKvHeads !== 0) fields.refuse('num_key_value_heads', `a divisor of num_attention_heads ${numHeads}`)
  const headDim = fields.size('head_dim', Math.floor(hidden / numHeads))
  if (headDim % 2 !== 0 || headDim === 0)
    fields.refuse(
      'head_dim',
      `an even number, or none where hidden_size / num_attention_heads, ${hidden / numHeads}, is one`,
    )
  return { numHeads, numKvHeads, headDim }
}

export interface FfnNames {
  readonly gate: string
  readonly up: string
  readonly down: string
}

export const MLP_NAMES: FfnNames = { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' }

/** A SwiGLU FFN under `prefix`. */
export function ffnSpec(
  prefix: string,
  hidden: number,
  intermediate: number,
  names = MLP_NAMES,
  hasBias = false,
): FfnSpec {
  return {
    intermediate,
    gate: linearRef(`${prefix}.${names.gate}`, intermediate, hidden, hasBias),
    up: linearRef(`${prefix}.${names.up}`, intermediate, hidden, hasBias),
    down: linearRef(`${prefix}.${names.down}`, hidden, intermediate, hasBias),
  }
}

/** A dense FFN layer under `prefix`.mlp. */
export function denseFfn(fields: ConfigFields, prefix: string, hasBias = false): FfnLayerSpec {
  const ffn = ffnSpec(`${prefix}.mlp`, fields.size('hidden_size'), fields.size('intermediate_size'), MLP_NAMES, hasBias)
  return { experts: [], always: { ffn } }
}

/** Number of routed experts, under any of its published names, and how many a token uses. */
export function expertCounts(fields: ConfigFields): { readonly numExperts: number; readonly topK: number } {
  const key = EXPERT_COUNTS.find((name) => fields.raw(name) !== undefined) ?? 'num_experts'
  const numExperts = fields.count(key)
  const topK = numExperts === 0 ? 0 : fields.size('num_experts_per_tok')
  if (topK > numExperts) fields.refuse('num_experts_per_tok', `at most ${key} ${numExperts}`)
  return { numExperts, topK }
}

/** Whether a layer of the Qwen-MoE families is sparse. */
export function isSparseLayer(fields: ConfigFields, layer: number, numExperts: number): boolean {
  const step = fields.size('decoder_sparse_step')
  return numExperts > 0 && !fields.counts('mlp_only_layers').includes(layer) && (layer + 1) % step === 0
}
