// A product through the engine, for tests: made-up weights, any shape.

import type { Kernels } from '../../../lib/compute/kernels.js'
import { addProducts, addRounding, addTiles, placeLinear } from '../../../lib/compute/placed-linear.js'
import { cut } from '../../../lib/compute/room.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { BLOCK_SIZE, isQuantisable, levelAt, quantise } from '../../../lib/compute/quantise.js'
import type { QuantisedLinear } from '../../../lib/compute/quantised-linear.js'
import { packQuantised, packTiles } from '../../../lib/compute/tiles.js'
import type { WeightSet } from '../../../lib/compute/weight-store.js'
import type { WeightFormat } from '../../../lib/model/spec.js'
import type { StoredBlocks } from '../../../lib/model/stored-tensor.js'
import { inOneGo } from '../../../lib/compute/steps.js'

/** Integers with a scale for so many blocks, or with float16 scales per block. */
export interface Layout {
  readonly bits: 4 | 8
  readonly blocksPerScale: number | 'float16'
}

export const LAYOUTS: readonly Layout[] = [1, 2, 3, 4, 100, 'float16' as const].flatMap((blocksPerScale) => [
  { bits: 8, blocksPerScale },
  { bits: 4, blocksPerScale },
])

export interface Product {
  readonly format: WeightFormat | Layout
  readonly inputs: number
  readonly outputs: number
  readonly pieces?: number // as the engine cuts it, unless given
  readonly hasBias?: boolean
}

export const weightsOf = ({ inputs, outputs }: Product): Float32Array => probeValues(inputs * outputs, 3)
export const biasOf = ({ outputs }: Product): Float32Array => probeValues(outputs, 8)

/** Blocks as a file may hold them: scales are float16 numbers with all their bits in use. */
export function float16Blocks(weights: Float32Array, bits: 4 | 8): StoredBlocks {
  const { data, scales } = quantise(weights, bits)
  const words = new Uint32Array(scales.buffer)
  for (let i = 0; i < words.length; i++) words[i]! |= (i % 8) << 13
  return { bits, data, scales }
}

/** The layer's integers in that layout. */
export function integersOf(weights: Float32Array, inputs: number, { bits, blocksPerScale }: Layout): QuantisedLinear {
  if (blocksPerScale === 'float16') {
    return { ...float16Blocks(weights, bits), blocksPerScale: 1, scaleNumbers: 'float16' }
  }
  const blocks = inputs / BLOCK_SIZE
  const size = Math.min(blocks, blocksPerScale)
  return { ...quantise(weights, bits, { blocks, blocksPerScale: size }), scaleNumbers: 'bfloat16' }
}

/** What the integers stand for: [outputs, inputs]. */
export function valuesOf(integers: QuantisedLinear, inputs: number, outputs: number): Float32Array {
  const size = integers.blocksPerScale * BLOCK_SIZE
  const perRow = Math.ceil(inputs / size)
  return Float32Array.from({ length: inputs * outputs }, (_, i) => {
    const scale = integers.scales[Math.floor(i / inputs) * perRow + Math.floor((i % inputs) / size)]!
    return levelAt(integers, i) * scale
  })
}

/** x · Wᵀ + b for x [rows, inputs], through the engine: [rows, outputs]. */
export function product(kernels: Kernels, shape: Product, x: Float32Array): Float32Array {
  const { format, inputs, outputs, hasBias = false } = shape
  const bias = hasBias ? biasOf(shape) : undefined
  const layer = { weights: weightsOf(shape), inputs, outputs, bias }
  const set =
    typeof format === 'string' || !isQuantisable(inputs)
      ? inOneGo(packTiles('w', layer, typeof format === 'string' ? format : 'f32'))
      : packQuantised('w', layer, integersOf(layer.weights, inputs, format))
  return productOf(kernels, set, shape, x)
}

/** The same of a layer packed as `w`. */
export function productOf(
  kernels: Kernels,
  set: WeightSet,
  { outputs, pieces }: Pick<Product, 'outputs' | 'pieces'>,
  x: Float32Array,
): Float32Array {
  const linear = placeLinear(kernels, set, 'w')
  const { inputs } = linear
  const rows = x.length / inputs
  const { scratch } = kernels
  scratch.reset()
  const floats = scratch.take(x.byteLength)
  const rounded = scratch.take(rows * linear.rowBytes)
  const rowList = scratch.take(rows * 4)
  const y = scratch.take(rows * linear.outputBytes)
  kernels.floats(floats, x.length).set(x)
  kernels.ints(rowList, rows).set(Array.from({ length: rows }, (_, row) => row))
  kernels.run(() => {
    if (linear.blocks > 0) addRounding(kernels, linear, { x: floats, stride: inputs * 4, rows, y: rounded })
    kernels.barrier()
    const product = { linear, rows: { x: linear.blocks > 0 ? rounded : floats, rowList, rows, y } }
    if (pieces === undefined) addProducts(kernels, [product])
    else for (const { first, size } of cut(linear.tiles, pieces)) addTiles(kernels, product, first, size)
  })
  const result = new Float32Array(rows * outputs)
  for (let row = 0; row < rows; row++) {
    result.set(kernels.floats(y + row * linear.outputBytes, outputs), row * outputs)
  }
  linear.dispose()
  return result
}
