// That the packing kernels give the bits of the reference for every weight: of all sizes, on and beside halves of a step.

import assert from 'node:assert/strict'
import { inOneGo } from '../../../lib/compute/steps.js'
import { quantisationError, quantise, levelAt } from '../../../lib/compute/quantise.js'
import { packQuantised, packTiles } from '../../../lib/compute/tiles.js'
import type { WeightSet } from '../../../lib/compute/weight-store.js'
import { toFloat32 } from '../../../lib/model/dtypes.js'
import { createRandom } from '../../helpers/random.js'
import { referenceError, referenceIntegers, referenceTiles } from '../../helpers/reference-packing.js'

const seed = Date.now() % 1e6
const random = createRandom(seed)
const below = (limit: number): number => Math.floor(random() * limit)
const floatOf = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!
const bitsOf = (values: Float32Array): number[] => [...new Uint32Array(values.buffer, values.byteOffset, values.length)]

/** Any float32 but infinities and NaNs. */
const anyFloat = (): number => floatOf(((below(2) << 31) | (below(255) << 23) | below(2 ** 23)) >>> 0)
/** Any bfloat16 of a size whose multiples are float32 numbers. */
const anyStep = (): number => floatOf(((below(2) << 31) | ((20 + below(200)) << 23) | (below(128) << 16)) >>> 0)
/** That, the next one up and the next one down. */
const beside = (value: number): number => {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!
  return floatOf(bits + below(3) - 1)
}
const gaussian = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()) * 0.02

/** What a row is made of: `largest` times a step at the front makes that step its scale. */
const KINDS: Readonly<Record<string, (largest: number) => (i: number) => number>> = {
  'halves of a step, and beside them': (largest) => {
    const step = anyStep()
    return (i) => (i % 32 === 0 ? largest * step : beside((below(15) - 7.5) * step))
  },
  'numbers of all sizes': () => anyFloat,
  'numbers of one size': () => {
    const exponent = below(255) << 23
    return () => floatOf(((below(2) << 31) | exponent | below(2 ** 23)) >>> 0)
  },
  'numbers below the normal ones': () => () => floatOf(((below(2) << 31) | below(2 ** below(24))) >>> 0),
  'zeros of both signs': () => () => (below(2) === 0 ? 0 : -0),
  'a few numbers among zeros': () => () => (below(20) === 0 ? anyFloat() : below(2) === 0 ? 0 : -0),
  'bfloat16 weights': () => () => floatOf(bitsOf(Float32Array.of(gaussian()))[0]! & 0xffff0000),
  'float32 weights': () => gaussian,
  'equal sizes of both signs': () => {
    const size = anyFloat()
    return () => (below(2) === 0 ? size : -size)
  },
}

const SHAPES = [
  { inputs: 32, rows: 1, group: 32 },
  { inputs: 96, rows: 37, group: 32 },
  { inputs: 224, rows: 17, group: 64 },
  { inputs: 160, rows: 16, group: 160 },
] as const

const bytesOf = (set: WeightSet): Uint8Array => {
  const { source } = set['w.tiles']!
  assert.ok(source instanceof Uint8Array)
  return source
}

describe(`packing kernels (seed ${seed})`, () => {
  for (const [kind, make] of Object.entries(KINDS)) {
    it(`${kind}: levels, scales, errors and tiles have the reference's bits`, () => {
      for (const bits of [8, 4] as const) {
        for (const { inputs, rows, group } of SHAPES) {
          const grouping = { bits, inputs, group }
          const weights = new Float32Array(rows * inputs)
          for (let row = 0; row < rows; row++) {
            const each = make(bits === 8 ? 127 : -8)
            for (let i = 0; i < inputs; i++) weights[row * inputs + i] = each(i)
          }
          const wanted = referenceIntegers(weights, grouping)
          const groups = { blocks: inputs / 32, blocksPerScale: group / 32 }
          const got = quantise(weights, bits, groups)
          const what = `int${bits} [${rows}, ${inputs}] in ${group}`
          assert.deepEqual(bitsOf(got.scales), bitsOf(wanted.scales), what)
          assert.deepEqual(
            Int8Array.from(weights, (_, i) => levelAt(got, i)),
            wanted.levels,
            what,
          )
          assert.equal(quantisationError(weights, bits, groups), referenceError(weights, grouping), what)
          const tiles = referenceTiles(
            wanted,
            grouping,
            bitsOf(got.scales).map((word) => word >>> 16),
          )
          const layer = { inputs, outputs: rows, weights }
          assert.deepEqual(bytesOf(packQuantised('w', layer, { ...got, scaleNumbers: 'bfloat16' })), tiles, what)
          if (group === 32) {
            const packed = inOneGo(packTiles('w', layer, bits === 8 ? 'int8' : 'int4'))
            assert.deepEqual(bytesOf(packed), tiles, what)
          }
        }
      }
    })
  }

  it('every float16 number can be a scale', () => {
    const codes = Uint16Array.from({ length: 65_536 }, (_, code) => code).filter((code) => (code & 0x7c00) !== 0x7c00)
    const scales = Float32Array.from(codes, float16)
    const grouping = { bits: 8, inputs: 32, group: 32 } as const
    const levels = Int8Array.from({ length: codes.length * 32 }, () => below(256) - 128)
    const integers = { bits: 8, data: Uint8Array.from(levels, (level) => level + 128), scales } as const
    const packed = packQuantised(
      'w',
      { inputs: 32, outputs: codes.length },
      {
        ...{ ...integers, blocksPerScale: 1, scaleNumbers: 'float16' },
      },
    )
    assert.equal(Buffer.compare(bytesOf(packed), referenceTiles({ levels }, grouping, codes)), 0)
  })

  it('float32 tiles hold every input of 16 outputs side by side', () => {
    for (const [inputs, outputs] of [
      [33, 18],
      [3, 16],
      [64, 5],
    ] as const) {
      const weights = Float32Array.from({ length: inputs * outputs }, anyFloat)
      const { source } = inOneGo(packTiles('w', { inputs, outputs, weights }, 'f32'))['w.tiles']!
      const wanted = new Float32Array(Math.ceil(outputs / 16) * inputs * 16)
      weights.forEach((weight, i) => {
        const [output, input] = [Math.floor(i / inputs), i % inputs]
        wanted[(Math.floor(output / 16) * inputs + input) * 16 + (output % 16)] = weight
      })
      assert.ok(source instanceof Float32Array)
      assert.deepEqual(bitsOf(source), bitsOf(wanted))
    }
  })
})

/** The value of a float16 number. */
function float16(code: number): number {
  const [sign, exponent, fraction] = [code >> 15 === 0 ? 1 : -1, (code >> 10) & 31, (code & 1023) / 1024]
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15)
}

describe('widening', () => {
  const codes = Uint16Array.from({ length: 65_536 }, (_, code) => code)
  const bytes = new Uint8Array(codes.buffer)

  it('every float16 number is what it stands for', () =>
    assert.deepEqual([...toFloat32(bytes, 'F16', 'all')], [...codes].map(float16)))

  it('every bfloat16 number is the upper half of a float32', () =>
    assert.deepEqual(
      bitsOf(toFloat32(bytes, 'BF16', 'all')),
      [...codes].map((code) => (code << 16) >>> 0),
    ))

  it('an odd number of them, from any place', () => {
    const some = bytes.slice(2 * 1000, 2 * 1013)
    assert.deepEqual(toFloat32(some, 'F16', 'some'), Float32Array.from(codes.slice(1000, 1013), float16))
    assert.deepEqual(
      bitsOf(toFloat32(some, 'BF16', 'some')),
      [...codes.slice(1000, 1013)].map((code) => code << 16),
    )
  })
})
