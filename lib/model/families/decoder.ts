// What the Llama-shaped families share: names and sizes of a pre-norm decoder with grouped-query attention. A family
// file says only where it differs.

import { ClusterError } from '../../errors.js'
import { eosOf, linearRef, ropeOf, vectorRef, type ConfigFields } from '../config-fields.js'
import type { FfnLayerSpec, FfnSpec, GroupedAttentionSpec, LayerSpec, LinearRef, ModelSpec } from '../spec.js'

export interface DecoderOptions {
  readonly qkvBias: boolean
  readonly outputBias: boolean
  readonly qkNorm?: 'head' | 'projection'
  readonly clip?: number
  readonly ffn: (layer: number, prefix: string) => FfnLayerSpec
}

/** Builds the spec of a Llama-shaped model. */
export function decoderSpec(fields: ConfigFields, options: DecoderOptions): ModelSpec {
  const hidden = fields.size('hidden_size')
  const vocabSize = fields.size('vocab_size')
  const numLayers = fields.size('num_hidden_layers')
  checkUnsupported(fields)
  const embedding = { name: 'model.embed_tokens.weight', shape: [vocabSize, hidden] }
  const lmHead: LinearRef = fields.flag('tie_word_embeddings', false)
    ? { weight: embedding }
    : { weight: { name: 'lm_head.weight', shape: [vocabSize, hidden] } }
  const bos = eosOf(fields.raw('bos_token_id'))[0]
  return {
    family: fields.family,
    hidden,
    vocabSize,
    maxPositions: fields.size('max_position_embeddings'),
    normEpsilon: fields.number('rms_norm_eps', 1e-6),
    layers: Array.from({ length: numLayers }, (_, layer) => layerSpec(fields, options, layer, hidden)),
    embedding,
    finalNorm: vectorRef('model.norm', hidden),
    lmHead,
    eosTokenIds: eosOf(fields.raw('eos_token_id')),
    ...(bos === undefined ? {} : { bosTokenId: bos }),
  }
}

function layerSpec(fields: ConfigFields, options: DecoderOptions, layer: number, hidden: number): LayerSpec {
  const prefix = `model.layers.${layer}`
  return {
    attentionNorm: vectorRef(`${prefix}.input_layernorm`, hidden),
    attention: attentionSpec(fields, options, `${prefix}.self_attn`, hidden),
    ffnNorm: vectorRef(`${prefix}.post_attention_layernorm`, hidden),
    ffn: options.ffn(layer, prefix),
  }
}

function attentionSpec(
  fields: ConfigFields,
  options: DecoderOptions,
  prefix: string,
  hidden: number,
): GroupedAttentionSpec {
  const numHeads = fields.size('num_attention_heads')
  const numKvHeads = fields.size('num_key_value_heads', numHeads)
  if (numHeads % numKvHeads !== 0) fields.refuse('num_key_value_heads', `a divisor of num_attention_heads ${numHeads}`)
  if (!fields.has('head_dim') && hidden % numHeads !== 0)
    fields.refuse('num_attention_heads', `a divisor of hidden_size ${hidden}`)
  const headDim = fields.size('head_dim', hidden / numHeads)
  if (headDim % 2 !== 0) fields.refuse('head_dim', 'an even number')
  const qSize = numHeads * headDim
  const kvSize = numKvHeads * headDim
  const isPerHead = options.qkNorm === 'head'
  return {
    kind: 'grouped',
    rope: ropeOf(fields),
    numHeads,
    numKvHeads,
    headDim,
    q: linearRef(`${prefix}.q_proj`, qSize, hidden, options.qkvBias),
    k: linearRef(`${prefix}.k_proj`, kvSize, hidden, options.qkvBias),
    v: linearRef(`${prefix}.v_proj`, kvSize, hidden, options.qkvBias),
    o: linearRef(`${prefix}.o_proj`, hidden, qSize, options.outputBias),
    ...(options.qkNorm === undefined
      ? {}
      : {
          qkNorm: {
            over: options.qkNorm,
            q: vectorRef(`${prefix}.q_norm`, isPerHead ? headDim : qSize),
            k: vectorRef(`${prefix}.k_norm`, isPerHead ? headDim : kvSize),
          },
        }),
    ...(options.clip === undefined ? {} : { clip: options.clip }),
  }
}

function checkUnsupported(fields: ConfigFields): void {
  const window = fields.raw('sliding_window')
  const isWindowOn = fields.has('use_sliding_window') ? fields.flag('use_sliding_window', false) : true
  if (typeof window === 'number' && window > 0 && isWindowOn && window < fields.size('max_position_embeddings')) {
    throw new ClusterError('unimplemented', `sliding_window: ${window}; this version attends to the whole context`)
  }
  const activation = fields.raw('hidden_act') ?? 'silu'
  if (activation !== 'silu') fields.refuse('hidden_act', '"silu"')
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

/** Number of routed experts, under either of its published names, and how many a token uses. */
export function expertCounts(fields: ConfigFields): { readonly numExperts: number; readonly topK: number } {
  const key = fields.has('num_experts') ? 'num_experts' : 'num_local_experts'
  const numExperts = fields.count(key, 0)
  const topK = numExperts === 0 ? 0 : fields.size('num_experts_per_tok')
  if (topK > numExperts) fields.refuse('num_experts_per_tok', `at most ${key} ${numExperts}`)
  return { numExperts, topK }
}

/** Whether a layer of the Qwen-MoE families is sparse. */
export function isSparseLayer(fields: ConfigFields, layer: number, numExperts: number): boolean {
  const step = fields.size('decoder_sparse_step', 1)
  return numExperts > 0 && !fields.counts('mlp_only_layers').includes(layer) && (layer + 1) % step === 0
}
