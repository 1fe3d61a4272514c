// How rotary parameters are read, from the newer form and the older one.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { grouped } from '../../../lib/model/attention-parts.js'
import { specOf } from '../../../lib/model/families/registry.js'
import { goldenModel } from '../../helpers/paths.js'

type Config = Record<string, unknown>
const llama = JSON.parse(readFileSync(join(goldenModel('llama-dense'), 'config.json'), 'utf8')) as Config // an object
const GEMMA = { architectures: ['Gemma3ForCausalLM'], sliding_window: 8 }

const withChanges = (changes: Config) => specOf({ ...llama, ...changes }, 'config.json')

/** The attention of the first layer. */
const attentionOf = (changes: Config) => grouped(withChanges(changes).layers[0]?.attention ?? assert.fail(), 'test')

describe('rotary parameters', () => {
  it('the older rope form, the newer one and Llama 3 scaling are read', () => {
    assert.equal(attentionOf({ rope_parameters: undefined, rope_theta: 5e5 }).rope.theta, 5e5)
    const llama3 = {
      rope_type: 'llama3',
      rope_theta: 5e5,
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    }
    assert.deepEqual(attentionOf({ rope_parameters: llama3 }).rope.scaling, {
      type: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPosition: 64,
    })
  })

  it('the scaled ropes are read from both forms', () => {
    const older = (rope_scaling: Config) =>
      attentionOf({ rope_parameters: undefined, rope_theta: 5e5, rope_scaling }).rope
    assert.deepEqual(older({ type: 'linear', factor: 4 }), { theta: 5e5, scaling: { type: 'linear', factor: 4 } })
    assert.deepEqual(older({ rope_type: 'dynamic', factor: 2 }).scaling, {
      type: 'dynamic',
      factor: 2,
      originalMaxPosition: 512,
    })
    assert.equal(older({}).scaling.type, 'default')
    const newer = { rope_theta: 1e4, rope_type: 'linear', factor: 2 }
    const wanted = { theta: 1e4, scaling: { type: 'linear', factor: 2 } }
    assert.deepEqual(attentionOf({ rope_parameters: newer }).rope, wanted)
    assert.deepEqual(attentionOf({ rope_parameters: newer, rope_scaling: {} }).rope, wanted)
  })

  it('a part of a head is rotated where the family does so; others do not look, as long as nothing is scaled', () => {
    const partial = { rope_type: 'linear', factor: 2, partial_rotary_factor: 0.5 }
    const glm = { architectures: ['Glm4MoeForCausalLM'], n_routed_experts: 4, num_experts_per_tok: 2 }
    const plain = { rope_parameters: null, partial_rotary_factor: 0.25 }
    const dims = (changes: Config) => attentionOf(changes).rope.dims
    assert.deepEqual([dims({ ...glm, rope_parameters: partial }), dims({ ...glm, ...plain })], [8, 4])
    assert.deepEqual([dims({ ...glm, rope_parameters: null }), dims(plain)], [8, undefined])
  })

  it('gpt-oss takes its own YaRN for none and for null', () => {
    const gptOss = { architectures: ['GptOssForCausalLM'], num_local_experts: 4, num_experts_per_tok: 2 }
    const scaling = (changes: Config) => attentionOf({ ...gptOss, ...changes }).rope.scaling
    const own = scaling({ rope_parameters: undefined })
    assert.deepEqual([own.type, own.type === 'yarn' && [own.factor, own.isTruncated]], ['yarn', [32, false]])
    assert.deepEqual(scaling({ rope_parameters: null, rope_scaling: null }), own)
    assert.equal(scaling({ rope_parameters: { rope_theta: 1e4 } }).type, 'default')
    assert.equal(scaling({ rope_parameters: null, rope_scaling: { type: 'linear', factor: 2 } }).type, 'linear')
  })

  it('the factor of YaRN’s cosines is given, or inferred from the factor or from both mscales', () => {
    const yarn = (more: Config) => {
      const { scaling } = attentionOf({ rope_scaling: { type: 'yarn', factor: 4, ...more } }).rope
      return scaling.type === 'yarn' ? scaling : assert.fail()
    }
    const inferred = 0.1 * Math.log(4) + 1
    assert.deepEqual(yarn({ original_max_position_embeddings: 128 }), {
      type: 'yarn',
      factor: 4,
      originalMaxPosition: 128,
      betaFast: 32,
      betaSlow: 1,
      isTruncated: true,
      attentionFactor: inferred,
    })
    assert.equal(yarn({ attention_factor: 1.5, mscale: 1, mscale_all_dim: 1 }).attentionFactor, 1.5)
    assert.equal(yarn({ mscale: 1, mscale_all_dim: 1 }).attentionFactor, 1)
    assert.equal(yarn({ mscale: 2 }).attentionFactor, inferred)
    assert.equal(yarn({ factor: null, original_max_position_embeddings: 64 }).factor, 8)
    assert.deepEqual([yarn({ truncate: false }).isTruncated, yarn({}).originalMaxPosition], [false, 512])
  })

  it('Gemma-3 rotates by the type of the layer, in both forms', () => {
    const ropes = (changes: Config) =>
      withChanges({ ...GEMMA, sliding_window_pattern: 2, ...changes }).layers.map(({ attention }) => attention.rope)
    const linear = { type: 'linear', factor: 8 }
    const sliding = { theta: 2e4, scaling: { type: 'default' } }
    const full = { theta: 2e6, scaling: linear }
    const older = { rope_parameters: null, rope_local_base_freq: 2e4, rope_theta: 2e6, rope_scaling: linear }
    assert.deepEqual(ropes(older), [sliding, full, sliding])
    const newer = {
      full_attention: { rope_type: 'linear', factor: 8, rope_theta: 2e6 },
      sliding_attention: { rope_type: 'default', rope_theta: 2e4 },
    }
    assert.deepEqual(ropes({ rope_parameters: newer }), [sliding, full, sliding])
    assert.deepEqual(
      ropes({ rope_parameters: null }).map(({ theta }) => theta),
      [1e4, 1e6, 1e4],
    )
    const both = { rope_parameters: newer, rope_scaling: linear }
    assert.throws(() => ropes(both), /rope_scaling: want none beside rope_parameters/)
  })

  it('Gemma-3’s YaRN is truncated as the set of all layers says, wherever its own set says so', () => {
    const yarn = (outer: Config, inner: Config) => {
      const full_attention = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64, ...inner }
      const changes = { ...GEMMA, layer_types: ['full_attention', 'sliding_attention', 'full_attention'] }
      const { scaling } = attentionOf({ ...changes, rope_parameters: { ...outer, full_attention } }).rope
      return scaling.type === 'yarn' ? scaling.isTruncated : assert.fail()
    }
    assert.deepEqual(
      [yarn({}, {}), yarn({}, { truncate: false }), yarn({ truncate: false }, {}), yarn({ truncate: null }, {})],
      [true, true, false, false],
    )
  })
})
