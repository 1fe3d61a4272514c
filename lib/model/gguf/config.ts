// What a GGUF file's metadata says, in the words of a published `config.json`, so that the families read it.
// https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py
//
// Invariants
//   GC1  An architecture fixes what metadata leaves open as llama.cpp does (Gemma-3's pattern of windows, say).
//   GC2  Metadata that would change what is computed is refused where its value is not the one that is computed.

import { ClusterError } from '../../errors.js'
import { eosIds, vocabSizeOf } from './control-tokens.js'
import type { GgufFields } from './fields.js'
import type { GgufHeader, GgufTensorInfo } from './header.js'

type Json = Readonly<Record<string, unknown>>

/** What a builder reads: metadata, its keys by their ending, and which tensors there are. */
interface Said {
  readonly fields: GgufFields
  readonly key: (ending: string) => string // `{architecture}.{ending}`
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>
}

export interface GgufArchitecture {
  /** The family, and what its `config.json` says beside sizes. */
  readonly config: (said: Said) => Json
  /** It rotates neighbours (0, 1), (2, 3), …; published weights rotate halves, so rows of q and k change places. */
  readonly rotatesNeighbours: boolean
}

const ARCHITECTURES: Readonly<Record<string, GgufArchitecture>> = {
  llama: {
    rotatesNeighbours: true,
    config: (said) => (isSparse(said) ? mixtral(said) : llama(said)),
  },
  qwen2: { rotatesNeighbours: false, config: () => family('Qwen2ForCausalLM', 'qwen2') },
  qwen2moe: {
    rotatesNeighbours: false,
    config: (said) => ({
      ...family('Qwen2MoeForCausalLM', 'qwen2_moe'),
      ...sparse(said, { num_experts: 'expert_count' }),
      shared_expert_intermediate_size: said.fields.count(
        said.key('expert_shared_feed_forward_length'),
        rowsOf(said, 'ffn_gate_shexp.weight'),
      ),
      norm_topk_prob: said.fields.flag(said.key('expert_weights_norm'), false),
    }),
  },
  qwen3: {
    rotatesNeighbours: false,
    config: (said) => ({ ...family('Qwen3ForCausalLM', 'qwen3'), attention_bias: has(said, 'attn_q.bias') }),
  },
  qwen3moe: {
    rotatesNeighbours: false,
    config: (said) => ({
      ...family('Qwen3MoeForCausalLM', 'qwen3_moe'),
      ...sparse(said, { num_experts: 'expert_count' }),
      attention_bias: has(said, 'attn_q.bias'),
      norm_topk_prob: said.fields.flag(said.key('expert_weights_norm'), true),
    }),
  },
  olmoe: {
    rotatesNeighbours: false,
    config: (said) => ({
      ...family('OlmoeForCausalLM', 'olmoe'),
      num_experts: said.fields.count(said.key('expert_count')),
      num_experts_per_tok: said.fields.count(said.key('expert_used_count')),
      norm_topk_prob: said.fields.flag(said.key('expert_weights_norm'), false),
      ...(said.fields.has(said.key('attention.clamp_kqv'))
        ? { clip_qkv: said.fields.number(said.key('attention.clamp_kqv')) }
        : {}),
    }),
  },
  granitemoe: {
    rotatesNeighbours: true,
    config: (said) => ({
      ...family('GraniteMoeForCausalLM', 'granitemoe'),
      num_local_experts: said.fields.count(said.key('expert_count')),
      num_experts_per_tok: said.fields.count(said.key('expert_used_count')),
      embedding_multiplier: said.fields.number(said.key('embedding_scale'), 1),
      attention_multiplier: said.fields.number(said.key('attention.scale'), 1),
      residual_multiplier: said.fields.number(said.key('residual_scale'), 1),
      logits_scaling: said.fields.number(said.key('logit_scale'), 1),
    }),
  },
  'gpt-oss': { rotatesNeighbours: false, config: gptOss },
  gemma3: { rotatesNeighbours: false, config: gemma3 },
}

/** The architecture that the file names. Throws `unimplemented` for one that is not served. */
export function architectureOf({ fields, path }: GgufHeader): GgufArchitecture {
  const name = fields.text('general.architecture')
  const found = Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined
  if (found !== undefined) return found
  const known = Object.keys(ARCHITECTURES).join(', ')
  throw new ClusterError(
    'unimplemented',
    `${path}: general.architecture: want one of ${known}, got ${JSON.stringify(name)}`,
  )
}

/** The configuration of a file, as its family's `config.json` would have it. */
export function configOf(header: GgufHeader): Json {
  const { fields, tensors } = header
  const architecture = architectureOf(header)
  const name = fields.text('general.architecture')
  const said: Said = { fields, tensors, key: (ending) => `${name}.${ending}` }
  const layers = checkedCounts(said)
  return {
    ...sizes(said),
    num_hidden_layers: layers,
    ...rope(said),
    tie_word_embeddings: !tensors.has('output.weight'),
    eos_token_id: eosIds(header),
    bos_token_id: fields.has('tokenizer.ggml.bos_token_id') ? fields.count('tokenizer.ggml.bos_token_id') : null,
    ...architecture.config(said),
  }
}

/** Layers. Lists as long as a count are made of it: none is longer than what the file has tensors or rows for. */
function checkedCounts({ fields, key, tensors }: Said): number {
  const experts = [...tensors.values()].reduce((most, { shape }) => Math.max(most, shape[0] ?? 0), tensors.size)
  const atMost = (ending: string, most: number): void => {
    if (fields.count(key(ending), 0) > most)
      fields.refuse(key(ending), `at most ${most}, which the file has tensors for`)
  }
  atMost('block_count', tensors.size)
  atMost('expert_count', experts)
  return fields.count(key('block_count'))
}

function sizes({ fields, key, tensors }: Said): Json {
  const hidden = fields.count(key('embedding_length'))
  const heads = fields.count(key('attention.head_count'))
  if (!fields.has(key('attention.key_length')) && hidden % Math.max(heads, 1) !== 0)
    fields.refuse(key('attention.head_count'), `a divisor of ${key('embedding_length')} ${hidden}`)
  const headDim = fields.count(key('attention.key_length'), hidden / Math.max(heads, 1))
  const same = (ending: string): void => {
    if (fields.count(key(ending), headDim) !== headDim) fields.refuse(key(ending), `the width of a head, ${headDim}`)
  }
  same('attention.value_length')
  same('rope.dimension_count')
  return {
    vocab_size: vocabSizeOf(fields, tensors),
    hidden_size: hidden,
    intermediate_size: fields.has(key('feed_forward_length')) ? fields.count(key('feed_forward_length')) : null,
    num_attention_heads: heads,
    num_key_value_heads: fields.count(key('attention.head_count_kv'), heads),
    head_dim: headDim,
    max_position_embeddings: fields.count(key('context_length')),
    rms_norm_eps: fields.number(key('attention.layer_norm_rms_epsilon')),
    hidden_act: 'silu',
  }
}

/** Rotation; llama.cpp multiplies YaRN's own factor of the scores by `attn_factor`. */
function rope({ fields, key }: Said): Json {
  const type = fields.text(key('rope.scaling.type'), 'none')
  const older = fields.number(key('rope.scale_linear'), 1)
  const factor = fields.number(key('rope.scaling.factor'), older)
  const theta = { rope_theta: fields.number(key('rope.freq_base'), 10_000) }
  const isLinear = type === 'linear' || (type === 'none' && older !== 1)
  if (isLinear && factor !== 1) return { ...theta, rope_scaling: { rope_type: 'linear', factor } }
  if (type === 'none' || isLinear) return theta
  if (type !== 'yarn') return fields.refuse(key('rope.scaling.type'), 'none, linear or yarn')
  const attention = fields.number(
    key('rope.scaling.yarn_attn_factor'),
    fields.number(key('rope.scaling.attn_factor'), 1),
  )
  return {
    ...theta,
    rope_scaling: {
      rope_type: 'yarn',
      factor,
      original_max_position_embeddings: fields.count(key('rope.scaling.original_context_length')),
      beta_fast: fields.number(key('rope.scaling.yarn_beta_fast'), 32),
      beta_slow: fields.number(key('rope.scaling.yarn_beta_slow'), 1),
      ...(attention === 1 ? {} : { attention_factor: attention * (1 + 0.1 * Math.log(factor)) }),
    },
  }
}

const family = (architecture: string, modelType: string): Json => ({
  architectures: [architecture],
  model_type: modelType,
})

const isSparse = ({ fields, key }: Said): boolean => fields.count(key('expert_count'), 0) > 0
const has = ({ tensors }: Said, name: string): boolean => tensors.has(`blk.0.${name}`)

/** Rows of a matrix in the first layer that has it. */
const rowsOf = ({ tensors }: Said, name: string): number =>
  [...tensors.values()].find((tensor) => tensor.name.endsWith(`.${name}`))?.shape.at(-2) ?? 0

/** Experts in the layers that have a gate. */
function sparse(said: Said, names: Readonly<Record<string, string>>): Json {
  const { fields, key, tensors } = said
  const layers = Array.from({ length: fields.count(key('block_count')) }, (_, layer) => layer)
  return {
    ...Object.fromEntries(Object.entries(names).map(([name, ending]) => [name, fields.count(key(ending))])),
    num_experts_per_tok: fields.count(key('expert_used_count')),
    moe_intermediate_size: fields.count(key('expert_feed_forward_length'), rowsOf(said, 'ffn_gate_exps.weight')),
    decoder_sparse_step: 1,
    mlp_only_layers: layers.filter((layer) => !tensors.has(`blk.${layer}.ffn_gate_inp.weight`)),
  }
}

const llama = (said: Said): Json => ({
  ...family('LlamaForCausalLM', 'llama'),
  attention_bias: has(said, 'attn_q.bias'),
  mlp_bias: has(said, 'ffn_gate.bias'),
})

const mixtral = ({ fields, key }: Said): Json => ({
  ...family('MixtralForCausalLM', 'mixtral'),
  num_local_experts: fields.count(key('expert_count')),
  num_experts_per_tok: fields.count(key('expert_used_count')),
})

/** A window in every other layer, the first included; its YaRN ramp has no whole bounds. */
function gptOss(said: Said): Json {
  const { fields, key } = said
  const { rope_scaling: scaling, rope_theta: theta } = rope(said)
  return {
    ...family('GptOssForCausalLM', 'gpt_oss'),
    rope_theta: theta,
    rope_scaling: typeof scaling === 'object' ? { ...scaling, truncate: false } : { rope_type: 'default' },
    intermediate_size: fields.count(key('expert_feed_forward_length'), rowsOf(said, 'ffn_gate_exps.weight')),
    num_local_experts: fields.count(key('expert_count')),
    num_experts_per_tok: fields.count(key('expert_used_count')),
    sliding_window: fields.count(key('attention.sliding_window')),
    attention_bias: has(said, 'attn_q.bias'),
  }
}

const LAYERS_OF_27B = 62

/** Five layers with a window and a rotation of their own for each one without. */
function gemma3({ fields, key }: Said): Json {
  for (const ending of ['attn_logit_softcapping', 'final_logit_softcapping'])
    if (fields.number(key(ending), 0) !== 0) fields.refuse(key(ending), 'none: this version caps no logits')
  const heads = fields.count(key('attention.head_count'))
  const hidden = fields.count(key('embedding_length'))
  const isLargest = fields.count(key('block_count')) === LAYERS_OF_27B
  const contextLength = fields.count(key('context_length'))
  return {
    ...family('Gemma3ForCausalLM', 'gemma3_text'),
    hidden_activation: 'gelu_pytorch_tanh',
    query_pre_attn_scalar: isLargest ? hidden / heads : fields.count(key('attention.key_length'), hidden / heads),
    sliding_window: fields.count(key('attention.sliding_window'), contextLength),
    sliding_window_pattern: fields.count(key('attention.sliding_window_pattern'), 6),
    rope_theta: fields.number(key('rope.freq_base'), 1_000_000),
    rope_local_base_freq: fields.number(key('rope.freq_base_swa'), 10_000),
  }
}
