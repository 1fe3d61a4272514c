// What a device's attention lacks is refused before anything is opened there, by layer and thing.

import assert from 'node:assert/strict'
import { requireDeviceAttention } from '../../../lib/decode/device-features.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import type { GroupedAttentionSpec, LayerSpec, ModelSpec } from '../../../lib/model/spec.js'
import { goldenModel } from '../../helpers/paths.js'

function specOf(family: string): ModelSpec {
  const checkpoint = openCheckpoint(goldenModel(family))
  checkpoint.close()
  return checkpoint.spec
}

const refusal = (spec: ModelSpec): string => {
  try {
    requireDeviceAttention(spec)
  } catch (error) {
    assert.ok(error instanceof ClusterError && error.code === 'unimplemented')
    return error.message
  }
  return ''
}

describe('requireDeviceAttention', () => {
  it('accepts the families that devices compute, with any scale of the scores', () => {
    for (const family of ['llama-dense', 'qwen3-dense', 'mixtral', 'qwen2-moe', 'qwen3-moe', 'olmoe', 'granitemoe']) {
      assert.equal(refusal(specOf(family)), '', family)
    }
  })

  it('names the first layer and what a device lacks', () => {
    assert.match(refusal(specOf('gpt-oss')), /^gpt_oss, layer 0: want attention .*, got attention sinks/)
    assert.match(refusal(specOf('deepseek-v3')), /^deepseek_v3, layer 0: .*, got latent attention/)
  })

  it('looks at every layer', () => {
    const spec = specOf('llama-dense')
    const last = spec.layers.at(-1) ?? assert.fail()
    const attention = last.attention.kind === 'grouped' ? last.attention : assert.fail()
    const withLast = (change: Partial<LayerSpec>): string =>
      refusal({ ...spec, layers: [...spec.layers.slice(0, -1), { ...last, ...change }] })
    const withAttention = (change: Partial<GroupedAttentionSpec>): string =>
      withLast({ attention: { ...attention, ...change } })
    const at = `layer ${spec.layers.length - 1}: .*got `
    assert.match(withAttention({ window: 16 }), new RegExp(`${at}a sliding window of 16`))
    assert.equal(withAttention({ window: spec.maxPositions }), '') // hides nothing
    assert.match(withAttention({ rope: { ...attention.rope, dims: 2 } }), new RegExp(`${at}a rotation of 2`))
    assert.match(withAttention({ rope: { ...attention.rope, theta: 5 } }), new RegExp(`${at}a rotation other`))
    assert.match(withAttention({ numKvHeads: attention.numHeads }), new RegExp(`${at}heads other`))
    assert.match(withLast({ attentionPostNorm: last.ffnNorm }), new RegExp(`${at}a norm after attention`))
    assert.match(withLast({ ffnPostNorm: last.ffnNorm }), new RegExp(`${at}a norm after the FFN`))
  })
})
