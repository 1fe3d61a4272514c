// What a family makes of a published configuration, and of a bad one.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
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

describe('families', () => {
  for (const family of ['llama-dense', 'qwen3-dense', 'mixtral', 'qwen2-moe', 'qwen3-moe', 'olmoe']) {
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

  it('experts are counted under both published names', () => {
    assert.equal(
      withChanges('qwen3-moe', { num_local_experts: undefined, num_experts: 16 }).layers[0]?.ffn.experts.length,
      16,
    )
  })

  it('the older rope form, the newer one and Llama 3 scaling are read', () => {
    assert.equal(attentionOf('llama-dense', { rope_parameters: undefined, rope_theta: 5e5 }).rope.theta, 5e5)
    const llama3 = {
      rope_type: 'llama3',
      rope_theta: 5e5,
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    }
    assert.deepEqual(attentionOf('llama-dense', { rope_parameters: llama3 }).rope.scaling, {
      type: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPosition: 64,
    })
  })

  it('clip_qkv is read', () => assert.equal(attentionOf('olmoe', { clip_qkv: 8 }).clip, 8))

  const refused: readonly [string, string, Config, RegExp][] = [
    [
      'an unknown architecture',
      'llama-dense',
      { architectures: ['MambaForCausalLM'] },
      /MambaForCausalLM.*LlamaForCausalLM/,
    ],
    ['a size of zero', 'llama-dense', { hidden_size: 0 }, /hidden_size: want an integer of at least 1, got 0/],
    ['a size that is text', 'llama-dense', { vocab_size: '320' }, /vocab_size: .*got "320"/],
    ['a missing size', 'llama-dense', { num_hidden_layers: undefined }, /num_hidden_layers: .*got nothing/],
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
    ['an unknown rope', 'llama-dense', { rope_parameters: { rope_type: 'yarn' } }, /rope type "yarn"/],
    ['a sliding window in use', 'mixtral', { sliding_window: 128 }, /sliding_window: 128/],
    ['another activation', 'llama-dense', { hidden_act: 'gelu' }, /hidden_act: want "silu", got "gelu"/],
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
  it('names a folder that is none, and a GGUF file as not served', () => {
    assert.throws(
      () => openCheckpoint('/nowhere'),
      (error) => error instanceof ClusterError && error.code === 'not_found',
    )
    assert.throws(
      () => openCheckpoint('x.gguf'),
      (error) => error instanceof ClusterError && error.code === 'unimplemented',
    )
  })

  it('has the demonstration model’s defaults, tokenizer and template', () => {
    const checkpoint = openCheckpoint(demoModel)
    assert.deepEqual(
      [checkpoint.defaults.temperature, checkpoint.defaults.topP, checkpoint.spec.eosTokenIds],
      [0.7, 0.95, [0]],
    )
    assert.equal(
      checkpoint.chatTemplate?.render([
        { role: 'user', content: 'a' },
        { role: 'user', content: 'b' },
      ]),
      'ab',
    )
    checkpoint.close()
  })
})
