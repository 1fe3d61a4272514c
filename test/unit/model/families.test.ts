// What a family makes of a published configuration, and of a bad one.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { grouped } from '../../../lib/model/attention-parts.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { shardPlan } from '../../../lib/model/expert-shards.js'
import { specOf } from '../../../lib/model/families/registry.js'
import { demoModel, goldenModel } from '../../helpers/paths.js'

type Config = Record<string, unknown>
const configOf = (family: string): Config =>
  JSON.parse(readFileSync(join(goldenModel(family), 'config.json'), 'utf8')) as Config // an object

const withChanges = (family: string, changes: Config) => specOf({ ...configOf(family), ...changes }, 'config.json')

/** The attention of the first layer. */
const attentionOf = (family: string, changes: Config) =>
  grouped(withChanges(family, changes).layers[0]?.attention ?? assert.fail(), 'test')

const NEWER = [
  'granitemoe',
  'gpt-oss',
  'deepseek-v3',
  ...['mistral', 'qwen2-dense', 'gemma3', 'llama-yarn', 'llama-dynamic', 'glm4-moe'],
  ...['deepseek-v3-plain', 'gpt-oss-window', 'granitemoe-tied'],
]
const MISTRAL = { architectures: ['MistralForCausalLM'] }
const GEMMA = { architectures: ['Gemma3ForCausalLM'], sliding_window: 8 }

describe('families', () => {
  for (const family of ['llama-dense', 'qwen3-dense', 'mixtral', 'qwen2-moe', 'qwen3-moe', 'olmoe', ...NEWER]) {
    it(`${family}: every tensor is there, none is left over`, () => {
      const checkpoint = openCheckpoint(goldenModel(family))
      assert.deepEqual([checkpoint.missing, checkpoint.unexpected], [[], []])
      checkpoint.close()
    })
  }

  it('head_dim falls back to hidden / heads, also where it is null', () => {
    assert.equal(attentionOf('llama-dense', { head_dim: null }).headDim, 16)
    assert.equal(attentionOf('mixtral', { head_dim: undefined }).headDim, 16)
  })

  it('one KV head and a head_dim of its own are taken as they are', () => {
    const attention = attentionOf('llama-dense', { num_key_value_heads: 1, head_dim: 24 })
    assert.deepEqual(
      [attention.numKvHeads, attention.q.weight.shape, attention.k.weight.shape],
      [1, [96, 64], [24, 64]],
    )
  })

  it('attention and MLP bias appear where the configuration says so', () => {
    const plain = withChanges('llama-dense', {}).layers[0] ?? assert.fail()
    const biased = withChanges('llama-dense', { attention_bias: true, mlp_bias: true }).layers[0] ?? assert.fail()
    assert.equal(plain.attention.o.bias, undefined)
    assert.deepEqual(biased.attention.o.bias?.shape, [64])
    assert.deepEqual(biased.ffn.always?.ffn.down.bias?.shape, [64])
  })

  it('dense layers lie between sparse ones', () => {
    const isSparse = (changes: Config): boolean[] =>
      withChanges('qwen3-moe', changes).layers.map(({ ffn }) => ffn.gate !== undefined)
    assert.deepEqual(isSparse({ mlp_only_layers: [1] }), [true, false, true])
    assert.deepEqual(isSparse({ decoder_sparse_step: 2 }), [false, true, false])
  })

  it('every published name of the number of experts stands for the family’s own', () => {
    const numExperts = (family: string, changes: Config) =>
      withChanges(family, changes).layers.at(-1)?.ffn.experts.length
    assert.equal(numExperts('qwen3-moe', { num_local_experts: 9 }), 9)
    assert.equal(numExperts('qwen3-moe', { num_local_experts: undefined }), 128)
    assert.equal(numExperts('mixtral', { num_local_experts: undefined, num_experts: 5 }), 5)
  })

  it('experts are counted under both published names', () => {
    assert.equal(
      withChanges('qwen3-moe', { num_local_experts: undefined, num_experts: 16 }).layers[0]?.ffn.experts.length,
      16,
    )
  })

  it('windows lie in the layers that the family says; one over all positions is none', () => {
    const windows = (family: string, changes: Config) =>
      withChanges(family, changes).layers.map(({ attention }) => attention.window)
    const on = { use_sliding_window: true, sliding_window: 16, max_window_layers: 1 }
    const none = [undefined, undefined, undefined]
    assert.deepEqual(windows('mixtral', { sliding_window: 16 }), [16, 16, 16])
    assert.deepEqual(windows('mixtral', { sliding_window: 512 }), none)
    assert.deepEqual(windows('qwen3-dense', { ...on, layer_types: undefined }), [undefined, 16, 16])
    assert.deepEqual(windows('qwen3-dense', { ...on, use_sliding_window: false }), none)
    assert.deepEqual(windows('qwen2-moe', { ...on, layer_types: undefined }), [16, undefined, undefined])
    assert.deepEqual(windows('qwen3-moe', on), [16, 16, 16])
    assert.deepEqual(windows('gpt-oss', { layer_types: undefined }), [16, undefined, 16])
    assert.deepEqual(windows('llama-dense', { ...MISTRAL, max_position_embeddings: 8192 }), [4096, 4096, 4096])
    assert.deepEqual(windows('llama-dense', { ...MISTRAL, sliding_window: null }), none)
    assert.deepEqual(windows('llama-dense', { ...GEMMA, sliding_window: 8, sliding_window_pattern: 2 }), [
      8,
      undefined,
      8,
    ])
  })

  it('the text half of Gemma-3 with images is read from its section, absent sizes as the reference takes them', () => {
    const spec = specOf(
      {
        architectures: ['Gemma3ForConditionalGeneration'],
        eos_token_id: [1, 106],
        text_config: { hidden_size: 2560, intermediate_size: 10240, num_hidden_layers: 34, sliding_window: 1024 },
      },
      'config.json',
    )
    assert.deepEqual(
      [spec.vocabSize, spec.maxPositions, spec.eosTokenIds, spec.lmHead.weight.name],
      [262_208, 131_072, [1, 106], 'language_model.model.embed_tokens.weight'],
    )
  })

  it('clip_qkv is read', () => assert.equal(attentionOf('olmoe', { clip_qkv: 8 }).clip, 8))

  const refused: readonly [string, string, Config, RegExp][] = [
    [
      'an unknown architecture',
      'llama-dense',
      { architectures: ['MambaForCausalLM'] },
      /architectures: want one of LlamaForCausalLM.*got \["MambaForCausalLM"\]/,
    ],
    [
      'an architecture that is no list',
      'llama-dense',
      { architectures: 'LlamaForCausalLM' },
      /architectures: .*got "LlamaForCausalLM"/,
    ],
    ['a size of zero', 'llama-dense', { hidden_size: 0 }, /hidden_size: want an integer of at least 1, got 0/],
    ['a size that is text', 'llama-dense', { vocab_size: '320' }, /vocab_size: .*got "320"/],
    [
      'layers without end',
      'llama-dense',
      { num_hidden_layers: 1e9 },
      /num_hidden_layers: want at most 512, got 1000000000/,
    ],
    ['experts without end', 'mixtral', { num_local_experts: 1e9 }, /num_local_experts: want at most 1024/],
    ['a size of null', 'llama-dense', { num_hidden_layers: null }, /num_hidden_layers: .*got null/],
    [
      'a default that contradicts what is said',
      'mixtral',
      { num_key_value_heads: undefined },
      /num_key_value_heads: want a divisor of num_attention_heads 4, got nothing \(by default 8\)/,
    ],
    ['norms of heads of another width', 'olmoe', { head_dim: 8 }, /head_dim: want .*, 16, which the norms.*got 8/],
    ['every other layer sparse', 'deepseek-v3', { moe_layer_freq: 2 }, /moe_layer_freq: want 1, got 2/],
    [
      'KV heads that do not divide the heads',
      'llama-dense',
      { num_key_value_heads: 3 },
      /num_key_value_heads.*divisor.*4.*got 3/,
    ],
    [
      'more experts a token than there are',
      'mixtral',
      { num_experts_per_tok: 9 },
      /num_experts_per_tok.*at most.*8.*got 9/,
    ],
    [
      'an unknown rope',
      'llama-dense',
      { rope_parameters: { rope_type: 'longrope' } },
      /rope_parameters: rope_type: want default.*got "longrope"/,
    ],
    [
      'positions of several axes',
      'llama-dense',
      { rope_scaling: { type: 'default', mrope_section: [4, 2, 2] } },
      /rope_scaling: mrope_section: want none/,
    ],
    [
      'a rope without its factor',
      'llama-dense',
      { rope_scaling: { type: 'linear' } },
      /rope_scaling: factor: want a number, got nothing/,
    ],
    [
      'an odd number of rotated dimensions',
      'glm4-moe',
      { rope_parameters: undefined, partial_rotary_factor: 0.2 },
      /partial_rotary_factor: want an even number of the 16.*got 0.2/,
    ],
    [
      'a scaled rotation of a part of a head, where whole ones are rotated',
      'llama-dense',
      { partial_rotary_factor: 0.5, rope_parameters: { rope_type: 'linear', factor: 2 } },
      /partial_rotary_factor: want 1: .*got 0.5/,
    ],
    [
      'a rope for each type of layer where layers have no types',
      'llama-dense',
      { rope_parameters: { full_attention: { rope_theta: 1 } } },
      /rope_parameters: want one set/,
    ],
    ['a window of no positions', 'mixtral', { sliding_window: 0 }, /sliding_window: .*got 0/],
    [
      'layer types of another number',
      'qwen3-dense',
      { use_sliding_window: true, layer_types: ['full_attention'] },
      /layer_types: want 3 of/,
    ],
    ['another activation', 'llama-dense', { hidden_act: 'gelu' }, /hidden_act: want "silu".*got "gelu"/],
    ['another gate', 'deepseek-v3', { scoring_func: 'softmax' }, /scoring_func: want "sigmoid", got "softmax"/],
    [
      'groups that do not divide the experts',
      'deepseek-v3',
      { n_group: 3 },
      /n_group: want a divisor of the 16.*got 3/,
    ],
    [
      'more experts a token than the chosen groups have',
      'deepseek-v3',
      { num_experts_per_tok: 9 },
      /num_experts_per_tok: want at most the 8 .*got 9/,
    ],
    ['capped logits', 'llama-dense', { ...GEMMA, final_logit_softcapping: 30 }, /final_logit_softcapping: .*got 30/],
  ]
  for (const [title, family, changes, message] of refused) {
    it(`${title} is refused with the key`, () =>
      assert.throws(
        () => withChanges(family, changes),
        (error) => error instanceof ClusterError && message.test(error.message),
      ))
  }
})

describe('shardPlan', () => {
  it('cuts routed experts into at most eight contiguous ranges that hold every expert once', () => {
    for (const numExperts of [1, 3, 8, 16, 60]) {
      const config = { ...configOf('qwen3-moe'), num_local_experts: numExperts, num_experts_per_tok: 1 }
      const plan = shardPlan(specOf(config, 'config.json'))
      assert.equal(plan.numShards, Math.min(8, numExperts))
      const all = Array.from({ length: plan.numShards }, (_, shard) => plan.expertsOf(0, shard)).flat()
      assert.deepEqual(
        all,
        Array.from({ length: numExperts }, (_, expert) => expert),
      )
    }
  })

  it('spreads dense layers over the shards', () => {
    const plan = shardPlan(withChanges('llama-dense', {}))
    assert.deepEqual(
      [0, 1, 2].map((layer) => plan.shardOf(layer, 0)),
      [0, 1, 2],
    )
  })
})

describe('openCheckpoint', () => {
  it('names a folder that is none', () => {
    assert.throws(
      () => openCheckpoint('/nowhere'),
      (error) => error instanceof ClusterError && error.code === 'not_found',
    )
  })

  it('has the demonstration model’s defaults, tokenizer and template', async () => {
    const checkpoint = openCheckpoint(demoModel)
    assert.deepEqual(
      [checkpoint.defaults.temperature, checkpoint.defaults.topP, checkpoint.spec.eosTokenIds],
      [0.7, 0.95, [0]],
    )
    assert.equal(
      await checkpoint.chatTemplate?.render(
        [
          { role: 'user', content: 'a' },
          { role: 'user', content: 'b' },
        ],
        systemClock,
      ),
      'ab',
    )
    checkpoint.close()
  })
})
