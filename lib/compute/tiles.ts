// Linear layers in the layout of the kernels (`kernels/linear.ts`): tiles of 16 outputs. The last tile is filled up with
// zeros. A width that no block fits stays float32.

import type { WeightFormat } from '../model/spec.js'
import type { LinearWeights } from './linear-weights.js'
import { BLOCK_SIZE, isQuantisable, quantise, type QuantisedMatrix } from './quantise.js'
import type { WeightSet } from './weight-store.js'

export const TILE = 16
const SCALE_BYTES = TILE * 2 // bfloat16: the upper half of a float32
const PAIRS = BLOCK_SIZE / 2

/** Bits of a weight by the bytes of a tile's block. */
export const BLOCK_BYTES = { 8: SCALE_BYTES + PAIRS * TILE * 2, 4: SCALE_BYTES + PAIRS * TILE } as const

export const tilesOf = (outputs: number): number => Math.ceil(outputs / TILE)

/** Blocks of a row that products of that many inputs read rounded; 0: they read float32. */
export const roundedBlocks = (inputs: number, format: WeightFormat): number =>
  format !== 'f32' && isQuantisable(inputs) ? inputs / BLOCK_SIZE : 0

/** Packs a layer as `name.tiles` (bytes [tiles, blocks, block bytes], or floats [tiles, inputs, 16]) and `name.bias`. */
export function packTiles(name: string, layer: LinearWeights, format: WeightFormat): WeightSet {
  const { weights, inputs, outputs, bias } = layer
  const numTiles = tilesOf(outputs)
  const padded = bias && Float32Array.from({ length: numTiles * TILE }, (_, i) => bias[i] ?? 0)
  const biases: WeightSet = padded
    ? { [`${name}.bias`]: { element: 'float', dims: [padded.length], source: padded } }
    : {}
  const numBlocks = roundedBlocks(inputs, format)
  if (numBlocks === 0) {
    const source = tileFloats(layer)
    return { [`${name}.tiles`]: { element: 'float', dims: [numTiles, inputs, TILE], source }, ...biases }
  }
  const bits = format === 'int8' ? 8 : 4
  const source = tileBlocks(quantise(weights, bits), { bits, outputs, numBlocks })
  return { [`${name}.tiles`]: { element: 'uint8', dims: [numTiles, numBlocks, BLOCK_BYTES[bits]], source }, ...biases }
}

function tileFloats({ weights, inputs, outputs }: LinearWeights): Float32Array {
  const tiles = new Float32Array(tilesOf(outputs) * inputs * TILE)
  for (let output = 0; output < outputs; output++) {
    const to = Math.floor(output / TILE) * inputs * TILE + (output % TILE)
    for (let input = 0; input < inputs; input++) tiles[to + input * TILE] = weights[output * inputs + input]!
  }
  return tiles
}

interface BlockShape {
  readonly bits: 4 | 8
  readonly outputs: number
  readonly numBlocks: number
}

function tileBlocks({ data, scales }: QuantisedMatrix, { bits, outputs, numBlocks }: BlockShape): Uint8Array {
  const blockBytes = BLOCK_BYTES[bits]
  const bytes = new Uint8Array(tilesOf(outputs) * numBlocks * blockBytes)
  const upperHalves = new Uint16Array(bytes.buffer)
  const halves = new Uint16Array(scales.buffer, scales.byteOffset, scales.length * 2)
  const put = bits === 8 ? putInt8 : putInt4
  for (let output = 0; output < outputs; output++) {
    const column = output % TILE
    for (let block = 0; block < numBlocks; block++) {
      const to = (Math.floor(output / TILE) * numBlocks + block) * blockBytes
      const from = output * numBlocks + block
      upperHalves[to / 2 + column] = halves[from * 2 + 1]! // little-endian, like WebAssembly
      put(data, from, bytes, to + SCALE_BYTES, column)
    }
  }
  return bytes
}

/** `quantise` stores 128 added; the kernels read signed bytes. */
function putInt8(data: Uint8Array, block: number, bytes: Uint8Array, at: number, column: number): void {
  for (let i = 0; i < BLOCK_SIZE; i++) {
    bytes[at + (i >> 1) * 2 * TILE + column * 2 + (i & 1)] = data[block * BLOCK_SIZE + i]! - 128
  }
}

function putInt4(data: Uint8Array, block: number, bytes: Uint8Array, at: number, column: number): void {
  const word = (column & 3) * 4 // of the pair's 16 bytes: two 16-bit words, one per input
  const nibble = column >> 2
  for (let i = 0; i < BLOCK_SIZE; i++) {
    const level = (data[(block * BLOCK_SIZE + i) >> 1]! >> ((i & 1) * 4)) & 15
    bytes[at + (i >> 1) * TILE + word + (i & 1) * 2 + (nibble >> 1)]! |= level << ((nibble & 1) * 4)
  }
}
