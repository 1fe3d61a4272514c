import assert from 'node:assert/strict'
import fc from 'fast-check'
import { BLOCK_SIZE, isQuantisable, quantise } from '../../../lib/compute/quantise.js'

describe('quantise', () => {
  const block = fc.float32Array({ minLength: BLOCK_SIZE, maxLength: BLOCK_SIZE, noNaN: true, min: -100, max: 100 })

  it('int8 is off by at most half a step', () => {
    fc.assert(
      fc.property(block, (weights) => {
        const { data, scales } = quantise(weights, 8)
        const step = scales[0] ?? 0
        weights.forEach((weight, i) =>
          assert.ok(Math.abs(((data[i] ?? 0) - 128) * step - weight) <= step * 0.5001 + 1e-30),
        )
      }),
    )
  })

  it('int4 packs the lower index into the lower nibble', () => {
    const weights = new Float32Array(BLOCK_SIZE)
    weights[0] = -8
    weights[1] = 4
    const { data, scales } = quantise(weights, 4)
    assert.deepEqual([scales[0], data[0]], [1, 0 | (12 << 4)])
  })

  it('a block of zeros stays zero', () => {
    const { data, scales } = quantise(new Float32Array(BLOCK_SIZE), 8)
    assert.deepEqual([scales[0], ...new Set(data)], [0, 128])
  })

  it('takes whole blocks only', () => assert.deepEqual([isQuantisable(64), isQuantisable(40)], [true, false]))
})
