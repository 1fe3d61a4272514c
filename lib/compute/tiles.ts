// Linear layers in the layout of the kernels (`kernels/linear.ts`): tiles of 16 outputs. The last tile is filled up with
// zeros. A width that no block fits stays float32.

import type { WeightFormat } from '../model/spec.js'
import { integerFormat, type IntegerFormat } from '../model/weight-formats.js'
import { integerRows } from './integer-rows.js'
import { pieces, rowsOf, scratchFor, TILE, type LinearWeights } from './linear-weights.js'
import { BLOCK_SIZE, isQuantisable, levelAt, type QuantisedMatrix } from './quantise.js'
import type { QuantisedLinear } from './quantised-linear.js'
import { takeZeros } from './recycled.js'
import { scaleBits } from './scale-numbers.js'
import type { Steps } from './steps.js'
import type { TileLayout, WeightSet, WeightTensor } from './weight-store.js'

export { TILE }
const SCALE_BYTES = TILE * 2
const PAIRS = BLOCK_SIZE / 2
const LEVEL_BYTES = { 8: PAIRS * TILE * 2, 4: PAIRS * TILE } as const // of a block

export const tilesOf = (outputs: number): number => Math.ceil(outputs / TILE)

/** Bytes of a tile of integers. */
export const tileBytes = ({ bits, blocks, blocksPerScale }: Omit<TileLayout, 'scales'>): number =>
  Math.ceil(blocks / blocksPerScale) * SCALE_BYTES + blocks * LEVEL_BYTES[bits]

/** Blocks of a row that products of that many inputs read rounded; 0: they read float32. */
export const roundedBlocks = (inputs: number, format: WeightFormat): number =>
  format !== 'f32' && isQuantisable(inputs) ? inputs / BLOCK_SIZE : 0

/** Packs a layer as `name.tiles` (bytes [tiles, tile bytes], or floats [tiles, inputs, 16]) and `name.bias`. */
export function* packTiles(name: string, layer: LinearWeights, format: WeightFormat): Steps<WeightSet> {
  const integers = isQuantisable(layer.inputs) ? integerFormat(format) : undefined
  const tiles = integers === undefined ? yield* packFloats(layer) : yield* packIntegers(layer, integers)
  return { [`${name}.tiles`]: tiles, ...packBias(name, layer) }
}

/** Calls `pack` with some whole tiles of rows at a time. */
function* inPieces(layer: LinearWeights, pack: (first: number, count: number) => void): Steps<void> {
  for (const { first, count } of pieces(layer)) {
    pack(first, count)
    yield
  }
}

function* packFloats(layer: LinearWeights): Steps<WeightTensor> {
  const { inputs, outputs } = layer
  const read = rowsOf(layer)
  const source = new Float32Array(takeZeros(tilesOf(outputs) * inputs * TILE * 4))
  yield* inPieces(layer, (first, count) =>
    tileFloats(read(first, count, scratchFor(count * inputs)), inputs, source.subarray(first * inputs)),
  )
  return { element: 'float', dims: [tilesOf(outputs), inputs, TILE], source }
}

function* packIntegers(layer: LinearWeights, format: IntegerFormat): Steps<WeightTensor> {
  const { inputs, outputs } = layer
  const { bits, blocksPerScale, scaleNumbers, rows } = yield* integerRows(layer, format)
  const layout = { bits, blocks: inputs / BLOCK_SIZE, blocksPerScale, scales: scaleNumbers }
  const bytesOfTile = tileBytes(layout)
  const source = new Uint8Array(takeZeros(tilesOf(outputs) * bytesOfTile))
  yield* inPieces(layer, (first, count) =>
    tileIntegers(rows(first, count), layout, source.subarray((first / TILE) * bytesOfTile)),
  )
  return { element: 'uint8', dims: [tilesOf(outputs), bytesOfTile], layout, source }
}

type LayerShape = Pick<LinearWeights, 'inputs' | 'outputs' | 'bias'>

/** Packs a layer's integers. */
export function packQuantised(name: string, layer: LayerShape, quantised: QuantisedLinear): WeightSet {
  const { bits, blocksPerScale, scaleNumbers } = quantised
  const layout = { bits, blocks: layer.inputs / BLOCK_SIZE, blocksPerScale, scales: scaleNumbers }
  const dims = [tilesOf(layer.outputs), tileBytes(layout)]
  const source = new Uint8Array(tilesOf(layer.outputs) * tileBytes(layout))
  tileIntegers(quantised, layout, source)
  return { [`${name}.tiles`]: { element: 'uint8', dims, layout, source }, ...packBias(name, layer) }
}

function packBias(name: string, { outputs, bias }: LayerShape): WeightSet {
  if (bias === undefined) return {}
  const source = Float32Array.from({ length: tilesOf(outputs) * TILE }, (_, i) => bias[i] ?? 0)
  return { [`${name}.bias`]: { element: 'float', dims: [source.length], source } }
}

function tileFloats(weights: Float32Array, inputs: number, tiles: Float32Array): void {
  for (let output = 0; output < weights.length / inputs; output++) {
    const to = Math.floor(output / TILE) * inputs * TILE + (output % TILE)
    for (let input = 0; input < inputs; input++) tiles[to + input * TILE] = weights[output * inputs + input]!
  }
}

function tileIntegers(integers: QuantisedMatrix, layout: TileLayout, bytes: Uint8Array): void {
  const { bits, blocks, blocksPerScale } = layout
  const bytesOfTile = tileBytes(layout)
  const scaleWords = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2)
  const scales = scaleBits(integers.scales, layout.scales)
  const outputs = scales.length / Math.ceil(blocks / blocksPerScale)
  const put = bits === 8 ? putInt8 : putInt4
  let scale = 0
  for (let output = 0; output < outputs; output++) {
    const column = output % TILE
    let to = Math.floor(output / TILE) * bytesOfTile
    for (let block = 0; block < blocks; block++) {
      if (block % blocksPerScale === 0) {
        scaleWords[to / 2 + column] = scales[scale++]! // little-endian, like WebAssembly
        to += SCALE_BYTES
      }
      put(integers, output * blocks + block, bytes, to, column)
      to += LEVEL_BYTES[bits]
    }
  }
}

/** The kernels read signed bytes. */
function putInt8(integers: QuantisedMatrix, block: number, bytes: Uint8Array, at: number, column: number): void {
  for (let i = 0; i < BLOCK_SIZE; i++) {
    bytes[at + (i >> 1) * 2 * TILE + column * 2 + (i & 1)] = levelAt(integers, block * BLOCK_SIZE + i)
  }
}

/** The kernels read levels with 8 added. */
function putInt4(integers: QuantisedMatrix, block: number, bytes: Uint8Array, at: number, column: number): void {
  const word = (column & 3) * 4 // of the pair's 16 bytes: two 16-bit words, one per input
  const nibble = column >> 2
  for (let i = 0; i < BLOCK_SIZE; i++) {
    const level = levelAt(integers, block * BLOCK_SIZE + i) + 8
    bytes[at + (i >> 1) * TILE + word + (i & 1) * 2 + (nibble >> 1)]! |= level << ((nibble & 1) * 4)
  }
}
