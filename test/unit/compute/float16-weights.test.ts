// Weights in float16: the nearest one of each value, held in two bytes, and products with the bits of the same numbers in
// float32, in WebAssembly and in machine code.

import assert from 'node:assert/strict'
import { createKernels, type Kernels } from '../../../lib/compute/kernels.js'
import { stack, type LinearWeights } from '../../../lib/compute/linear-weights.js'
import { packLinear } from '../../../lib/compute/linear.js'
import { processorFeatures, vectorUnitsOf } from '../../../lib/compute/machine-code/processor.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { inOneGo } from '../../../lib/compute/steps.js'
import { packTiles, roundedBlocks } from '../../../lib/compute/tiles.js'
import type { WeightSet, WeightTensor } from '../../../lib/compute/weight-store.js'
import { narrowTo, toFloat32 } from '../../../lib/model/dtypes.js'
import { createRandom } from '../../helpers/random.js'
import { productOf } from './product.js'

const seed = Date.now() % 1e6
const random = createRandom(seed)

const LARGEST = 0x7bff
/** All float16 numbers of one sign, zero and those below 2^-14 among them. */
const halves = Uint16Array.from({ length: LARGEST + 1 }, (_, half) => half)
const valuesOf = (of: Uint16Array): Float32Array => toFloat32(new Uint8Array(of.buffer), 'F16', 'halves')
const bitsOf = ({ buffer, byteOffset, length }: Float32Array): Uint32Array =>
  new Uint32Array(buffer, byteOffset, length)

/** The float32 before or after each positive one. */
const beside = (values: Float32Array, step: number): Float32Array =>
  new Float32Array(bitsOf(values).map((bits) => bits + step).buffer)

function rounded(values: Float32Array): Uint16Array {
  const result = new Uint16Array(values.length)
  assert.ok(narrowTo(result, values))
  return result
}

describe('rounding to float16', () => {
  it('keeps every float16 number of both signs, however many there are', () => {
    for (const sign of [0, 0x8000]) {
      const wanted = halves.map((half) => half | sign)
      assert.deepEqual(rounded(valuesOf(wanted)), wanted)
      for (let count = 0; count < 20; count++) {
        const some = wanted.slice(0x3fa, 0x3fa + count) // around 2^-14
        assert.deepEqual(rounded(valuesOf(some)), some)
      }
    }
  })

  it('takes the nearest, at a tie the even one', () => {
    const [low, high] = [halves.slice(0, -1), halves.slice(1)]
    const [values, next] = [valuesOf(low), valuesOf(high)]
    const middle = values.map((value, i) => (value + next[i]!) / 2) // exact in float32
    assert.deepEqual(
      rounded(middle),
      low.map((half, i) => (half % 2 === 0 ? half : high[i]!)),
    )
    assert.deepEqual(rounded(beside(middle, -1)), low)
    assert.deepEqual(rounded(beside(middle, 1)), high)
  })

  it('says where a value is beyond its range, wherever it is among the others', () => {
    for (const [value, fits] of [
      [65504, true],
      [beside(Float32Array.of(65520), -1)[0]!, true],
      [65520, false],
      [-65520, false],
      [3e38, false],
    ] as const) {
      for (const [length, at] of [
        [1, 0],
        [8, 5],
        [11, 9],
        [300_000, 270_001],
      ] as const) {
        const values = new Float32Array(length).fill(1)
        values[at] = value
        assert.equal(narrowTo(new Uint16Array(length), values), fits, `${value} at ${at} of ${length}`)
      }
    }
  })
})

const layerOf = (inputs: number, outputs: number, weights: Float32Array, hasBias = false): LinearWeights => ({
  weights,
  inputs,
  outputs,
  bias: hasBias ? probeValues(outputs, 8) : undefined,
})

describe('layers in float16', () => {
  const [inputs, outputs] = [64, 21]
  const layer = layerOf(inputs, outputs, probeValues(inputs * outputs, 3), true)

  it('hold the tiles of float32, in two bytes a weight', () => {
    const [wide, narrow] = (['f32', 'f16'] as const).map((format) => inOneGo(packTiles('w', layer, format)))
    const tiles = wide!['w.tiles']!.source as Float32Array // made here
    assert.deepEqual(narrow!['w.tiles'], { element: 'float16', dims: [2, inputs, 16], source: rounded(tiles) })
    assert.deepEqual(narrow!['w.bias'], wide!['w.bias'])
    assert.equal(roundedBlocks(inputs, 'f16'), 0)
  })

  it('lie across for devices', () => {
    const { source, dims, element } = packLinear('w', layer, 'f16')['w.weights']!
    const wide = packLinear('w', layer, 'f32')['w.weights']!
    assert.deepEqual([element, dims, source], ['float16', wide.dims, rounded(wide.source as Float32Array)]) // made here
  })

  it('stay float32 where no block fits their width, as in every format', () => {
    const odd = layerOf(24, 5, probeValues(24 * 5, 3))
    assert.deepEqual(inOneGo(packTiles('w', odd, 'f16')), inOneGo(packTiles('w', odd, 'f32')))
    assert.deepEqual(packLinear('w', odd, 'f16'), packLinear('w', odd, 'f32'))
  })

  it('are refused by the name of the tensor that float16 does not hold, also in a stack', () => {
    const named = (tensor: string, value: number) => {
      const weights = probeValues(inputs * outputs, 4)
      weights[7 * inputs + 3] = value
      return { ...layerOf(inputs, outputs, weights), tensor }
    }
    const refused = (one: LinearWeights, message: RegExp): void => {
      for (const pack of [() => inOneGo(packTiles('w', one, 'f16')), () => packLinear('w', one, 'f16')])
        assert.throws(pack, { code: 'invalid_argument', message })
    }
    const wanted = 'want values that float16 holds \\(up to 65504\\)'
    refused(named('x.gguf: tensor up', 7e4), new RegExp(`^x.gguf: tensor up: ${wanted}, got 70000; .*f16$`))
    const parts = [named('a', 65504), named('b', -65504), named('c', -65520), named('d', 1e9)]
    refused(stack(parts), new RegExp(`^c: ${wanted}, got -65520`))
    refused(stack([parts[0]!, stack(parts.slice(1))]), /^c: /)
    inOneGo(packTiles('w', stack(parts.slice(0, 2)), 'f16'))
  })
})

/** The same layer in both widths, whatever its own: the kernels know no blocks. */
function inBothWidths(layer: LinearWeights): { readonly wide: WeightSet; readonly narrow: WeightSet } {
  const wide = inOneGo(packTiles('w', layer, 'f32'))
  const { dims, source } = wide['w.tiles']!
  const tiles: WeightTensor = { element: 'float16', dims, source: rounded(source as Float32Array) } // made here
  return { wide, narrow: { ...wide, 'w.tiles': tiles } }
}

describe(`products of float16 weights (seed ${seed})`, () => {
  const engines: Kernels[] = []
  before(() => {
    engines.push(createKernels(1, { machineCode: false }), createKernels(2))
    for (const vectors of vectorUnitsOf(processorFeatures())) engines.push(createKernels(1, { vectors }))
  })
  after(() => Promise.all(engines.map((engine) => engine.dispose())))

  /** Any float16: all sizes are as likely, so that many are below 2^-14, zeros of both signs and the largest among them. */
  const anyHalf = (): number => [0, 0x8000, LARGEST, 0x8000 | LARGEST][Math.floor(random() * 40)] ?? randomHalf()
  const randomHalf = (): number => Math.floor(random() * (LARGEST + 1)) | (random() < 0.5 ? 0 : 0x8000)

  it('have the bits of the same numbers in float32, for every width and number of rows', () => {
    for (const inputs of [1, 2, 3, 7, 24, 32, 33, 160]) {
      for (const outputs of [1, 15, 16, 17, 50]) {
        const weights = valuesOf(Uint16Array.from({ length: inputs * outputs }, anyHalf))
        const { wide, narrow } = inBothWidths(layerOf(inputs, outputs, weights, outputs % 2 === 0))
        for (const rows of [1, 2, 3, 4, 5, 9]) {
          const x = probeValues(rows * inputs, inputs + rows, 4)
          const wanted = bitsOf(productOf(engines[0]!, wide, { outputs }, x))
          for (const [i, engine] of engines.entries()) {
            const what = `engine ${i}: ${rows} rows of ${inputs} to ${outputs}`
            assert.deepEqual(bitsOf(productOf(engine, narrow, { outputs }, x)), wanted, what)
          }
        }
      }
    }
  })

  it('are sums in float64 but for their rounding', () => {
    const [inputs, outputs] = [96, 40]
    const weights = probeValues(inputs * outputs, 5)
    const { narrow } = inBothWidths(layerOf(inputs, outputs, weights))
    const kept = valuesOf(rounded(weights))
    const x = probeValues(2 * inputs, 6, 4)
    productOf(engines[0]!, narrow, { outputs }, x).forEach((value, i) => {
      const [row, output] = [Math.floor(i / outputs), i % outputs]
      let sum = 0
      for (let k = 0; k < inputs; k++) sum += x[row * inputs + k]! * kept[output * inputs + k]!
      assert.ok(Math.abs(value - sum) < 1e-4, `${value} ${sum}`)
    })
  })
})
