// Layouts of integers: what the kernels multiply with is, bit for bit, level times scale, whether the levels are ours or a
// file's; and blocks are as large as the bound on their error allows.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { blockSizes, chooseBlocksPerScale, ERROR_GROWTH } from '../../../lib/compute/adaptive-blocks.js'
import { probeProvider } from '../../../lib/compute/gpu/device-probe.js'
import { createKernels, type Kernels } from '../../../lib/compute/kernels.js'
import { createLinearMap } from '../../../lib/compute/linear-map.js'
import { stack, type LinearWeights } from '../../../lib/compute/linear-weights.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { BLOCK_SIZE, quantisationError, quantise } from '../../../lib/compute/quantise.js'
import { quantiseLinear } from '../../../lib/compute/quantised-linear.js'
import { packTiles, tileBytes } from '../../../lib/compute/tiles.js'
import { integerBlocks } from '../../../lib/model/gguf/blocks.js'
import type { WeightFormat } from '../../../lib/model/spec.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { float16Blocks, integersOf, LAYOUTS, product, valuesOf, weightsOf } from './product.js'
import { inOneGo } from '../../../lib/compute/steps.js'

const fixtures = join(repositoryRoot, 'test', 'fixtures', 'gguf', 'blocks')
const LARGEST = 32767 // an activation that rounding leaves as it is

/** Rows that each ask for the weights of one input: products are those weights times 32767, rounded once. */
function unitRows(inputs: number): Float32Array {
  const rows = new Float32Array(inputs * inputs)
  for (let i = 0; i < inputs; i++) rows[i * inputs + i] = LARGEST
  return rows
}

/** What unit rows give for weights [outputs, inputs]: [inputs, outputs]. */
function unitProducts(weights: Float32Array, inputs: number): Float32Array {
  const outputs = weights.length / inputs
  return Float32Array.from({ length: weights.length }, (_, i) => {
    return weights[(i % outputs) * inputs + Math.floor(i / outputs)]! * LARGEST + 0 // no sum is -0
  })
}

for (const machineCode of [false, true]) {
  describe(`integers in tiles, ${machineCode ? 'machine code' : 'WebAssembly'}`, () => {
    let kernels: Kernels
    before(() => (kernels = createKernels(1, { machineCode })))
    after(() => kernels.dispose())

    it('every layout is exact: odd outputs, last groups shorter than others', () => {
      for (const format of LAYOUTS) {
        for (const [inputs, outputs] of [
          [32, 1],
          [160, 37],
          [224, 70],
        ] as const) {
          const shape = { format, inputs, outputs }
          const wanted = valuesOf(integersOf(weightsOf(shape), inputs, format), inputs, outputs)
          const got = product(kernels, shape, unitRows(inputs))
          assert.deepEqual(got, unitProducts(wanted, inputs), JSON.stringify(shape))
        }
      }
    })

    const stored = (outputs: number, bits: 4 | 8, seed: number): LinearWeights => {
      const blocks = float16Blocks(probeValues(outputs * 96, seed), bits)
      const weights = valuesOf({ ...blocks, blocksPerScale: 1, scaleNumbers: 'float16' }, 96, outputs)
      return { weights, inputs: 96, outputs, blocks }
    }
    const computed = (layer: LinearWeights, format: WeightFormat): Float32Array => {
      const map = createLinearMap(kernels, layer, format)
      const rows = map.run(unitRows(layer.inputs)).flatMap((row) => [...row])
      map.dispose()
      return Float32Array.from(rows)
    }

    it('takes blocks of a file as they are, alone and stacked, also four bits where eight are asked for', () => {
      const q8 = [stored(7, 8, 1), stored(18, 8, 2)] as const
      const q4 = [stored(5, 4, 3), stored(20, 4, 4)] as const
      for (const [layer, format] of [
        [q8[0], 'int8'],
        [q4[0], 'int4'],
        [q4[0], 'int8'],
        [q8[0], 'int8-auto'],
        [stack(q8), 'int8'],
        [stack(q4), 'int4'],
        [stack([q8[0], q4[0], q8[1]]), 'int8'],
      ] as const) {
        assert.deepEqual(computed(layer, format), unitProducts(layer.weights, 96))
      }
    })

    it('of a stack, quantises only the parts that the file holds otherwise', () => {
      const plain = { weights: probeValues(11 * 96, 9), inputs: 96, outputs: 11 }
      const layer = stack([stored(7, 8, 1), plain])
      const own = valuesOf(integersOf(plain.weights, 96, { bits: 8, blocksPerScale: 1 }), 96, 11)
      const wanted = Float32Array.from([...stored(7, 8, 1).weights, ...own])
      assert.deepEqual(computed(layer, 'int8'), unitProducts(wanted, 96))
    })
  })
}

describe('blocks of a file', () => {
  const weights = probeValues(4 * 64, 5)

  for (const [format, weightFormats] of [
    ['Q8_0', ['int8', 'int8-auto']],
    ['Q4_0', ['int4', 'int8', 'int4-auto']],
    ['MXFP4', ['int8', 'int8-auto']],
  ] as const) {
    it(`${format}: computed with as the reference dequantises them`, () => {
      const [inputs, outputs] = [128, 7]
      const read = (kind: string) => readFileSync(join(fixtures, `${format}.${kind}`))
      const blocks = integerBlocks(format, read('blocks'))
      const wanted = new Float32Array(Uint8Array.from(read('f32')).buffer)
      const kernels = createKernels(1)
      for (const weightFormat of weightFormats) {
        const map = createLinearMap(kernels, { weights: wanted, inputs, outputs, blocks }, weightFormat)
        const got = Float32Array.from(map.run(unitRows(inputs)).flatMap((row) => [...row]))
        assert.deepEqual(got, unitProducts(wanted, inputs))
        map.dispose()
      }
      return kernels.dispose()
    })
  }

  it('are quantised again where the format has fewer bits, or no two bytes hold their scales', () => {
    const blocks = float16Blocks(weights, 8)
    const layer = { weights, inputs: 64, outputs: 4, blocks }
    assert.deepEqual(quantiseLinear(layer, { bits: 4, isAdaptive: false }).scales, quantise(weights, 4).scales)
    const odd = { ...blocks, scales: blocks.scales.map((scale) => scale / 3) }
    const again = quantiseLinear({ ...layer, blocks: odd }, { bits: 8, isAdaptive: false })
    assert.deepEqual([again.scaleNumbers, again.scales], ['bfloat16', quantise(weights, 8).scales])
  })

  it('keep scales below 2^-14, zero and negative ones', () => {
    const scales = Float32Array.of(2 ** -24, -0, 0, -3 * 2 ** -20, 1 + 2 ** -10, -65504, 2 ** -14, 513 * 2 ** -24)
    const blocks = { ...float16Blocks(weights, 8), scales }
    const layer = { weights, inputs: 64, outputs: 4, blocks }
    const kept = quantiseLinear(layer, { bits: 8, isAdaptive: false })
    assert.deepEqual([kept.scaleNumbers, kept.scales], ['float16', scales])
    const kernels = createKernels(1)
    const map = createLinearMap(kernels, layer, 'int8')
    const got = Float32Array.from(map.run(unitRows(64)).flatMap((row) => [...row]))
    const values = valuesOf(kept, 64, 4)
    assert.ok(got.every((value, i) => value === unitProducts(values, 64)[i]))
    return kernels.dispose()
  })
})

describe('blocks sized per matrix', () => {
  it('are refused on devices, which have one size for all', () =>
    assert.throws(() => probeProvider('webgpu', { formats: ['int4-auto'] }), {
      code: 'unimplemented',
      message: /webgpu: want --weights f32, f16, int8, int4, got int4-auto/,
    }))
})

describe('adaptive blocks', () => {
  const [inputs, outputs] = [288, 40]
  const blocks = inputs / BLOCK_SIZE
  const even = probeValues(inputs * outputs, 6)
  /** Some blocks of each row a hundred times smaller than others. */
  const uneven = even.map((value, i) => (Math.floor(i / BLOCK_SIZE) % 2 === 0 ? value : value / 100))

  it('double up to the row', () => assert.deepEqual(blockSizes(9), [1, 2, 4, 8, 9]))

  for (const bits of [8, 4] as const) {
    it(`int${bits}: the largest size whose error stays under the bound`, () => {
      for (const weights of [even, uneven]) {
        const error = (blocksPerScale: number): number => quantisationError(weights, bits, { blocks, blocksPerScale })
        const chosen = chooseBlocksPerScale(weights, bits, blocks)
        const bound = error(1) * ERROR_GROWTH[bits]
        assert.ok(error(chosen) <= bound)
        const larger = blockSizes(blocks).find((size) => size > chosen)
        if (larger !== undefined) assert.ok(error(larger) > bound)
      }
      assert.equal(chooseBlocksPerScale(even, bits, blocks), blocks) // a uniform row needs one scale
    })
  }

  it('are chosen by the error of the values that are computed with', () => {
    for (const layout of LAYOUTS) {
      const { bits, blocksPerScale } = layout
      if (blocksPerScale === 'float16') continue
      const values = valuesOf(integersOf(uneven, inputs, layout), inputs, outputs)
      const norm = (difference: (i: number) => number): number =>
        Math.sqrt(uneven.reduce((sum, _, i) => sum + difference(i) ** 2, 0))
      const wanted = norm((i) => uneven[i]! - values[i]!) / norm((i) => uneven[i]!)
      const size = Math.min(blocks, blocksPerScale)
      const got = quantisationError(uneven, bits, { blocks, blocksPerScale: size })
      assert.ok(Math.abs(got - wanted) < 1e-6 * wanted, `${got} ${wanted}`)
    }
  })

  it('a matrix of zeros takes one scale per row', () =>
    assert.equal(chooseBlocksPerScale(new Float32Array(even.length), 4, blocks), blocks))

  it('take fewer bytes, and experts four bits beside eight of attention', () => {
    const layer = { weights: even, inputs, outputs }
    const bytes = (format: WeightFormat) => inOneGo(packTiles('w', layer, format))['w.tiles']?.dims[1] ?? 0
    assert.deepEqual(
      [bytes('int8'), bytes('int8-auto')],
      [tileBytes({ bits: 8, blocks, blocksPerScale: 1 }), tileBytes({ bits: 8, blocks, blocksPerScale: blocks })],
    )
    assert.ok(bytes('int4-auto') < bytes('int4'))
  })
})
