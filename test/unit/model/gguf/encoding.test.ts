import assert from 'node:assert/strict'
import fc from 'fast-check'
import { quantise } from '../../../../lib/compute/quantise.js'
import { encodeValues, type EncodedFormat } from '../../../../lib/model/gguf/encoding.js'
import { GGUF_FORMATS } from '../../../../lib/model/gguf/formats.js'
import { ClusterError } from '../../../../lib/errors.js'
import { decodeGguf } from '../../../helpers/gguf-reader.js'

const roundTrip = (format: EncodedFormat, values: Float32Array): number[] =>
  decodeGguf(GGUF_FORMATS[format].id, Buffer.from(encodeValues(format, values)))

const block = fc.float32Array({ minLength: 64, maxLength: 64, noNaN: true, min: -100, max: 100 })

describe('GGUF values', () => {
  it('F32 is the value', () => {
    fc.assert(fc.property(block, (values) => assert.deepEqual(roundTrip('F32', values), Array.from(values))))
  })

  it('F16 is off by at most half a unit in the last place', () => {
    fc.assert(
      fc.property(block, (values) => {
        roundTrip('F16', values).forEach((value, i) =>
          assert.ok(Math.abs(value - values[i]!) <= Math.max(Math.abs(values[i]!) * 2 ** -11, 2 ** -25)),
        )
      }),
    )
  })

  for (const [format, bits] of [
    ['Q8_0', 8],
    ['Q4_0', 4],
  ] as const) {
    it(`${format} is exactly the weights that our own int${bits} computes with (GE1)`, () => {
      const values = block.filter((drawn) =>
        [0, 32].every((at) => drawn.subarray(at, at + 32).some((v) => Math.abs(v) > 0.1)),
      )
      fc.assert(
        fc.property(values, (drawn) => {
          const { data, scales } = quantise(drawn, bits)
          const level = (i: number): number =>
            bits === 8 ? data[i]! - 128 : ((data[i >> 1]! >> ((i & 1) * 4)) & 15) - 8
          const ours = Array.from(drawn, (_, i) => scales[i >> 5]! * level(i))
          roundTrip(format, drawn).forEach((value, i) => assert.ok(value === ours[i]!, `${i}: ${value} ${ours[i]!}`))
        }),
      )
    })
  }

  it('refuses what float16 cannot hold, naming it (GE2)', () => {
    assert.throws(
      () => encodeValues('F16', Float32Array.of(1e5)),
      (error) =>
        error instanceof ClusterError && error.code === 'invalid_argument' && /65504.*100000/.test(error.message),
    )
  })
})
