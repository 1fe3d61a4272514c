// Linear layers in the layout of the kernels (`kernels/linear.ts`): tiles of 16 outputs. The last tile is filled up with
// zeros. A width that no block fits stays float32.

import { ClusterError } from '../errors.js'
import type { WeightFormat } from '../model/spec.js'
import { integerFormat } from '../model/weight-formats.js'
import type { LinearWeights } from './linear-weights.js'
import { BLOCK_SIZE, isQuantisable, levelAt } from './quantise.js'
import { keptLinear, quantiseValues, type QuantisedLinear } from './quantised-linear.js'
import { scaleBits } from './scale-numbers.js'
import type { Steps } from './steps.js'
import { weightOf, type TileLayout, type WeightSet, type WeightTensor } from './weight-store.js'

export const TILE = 16
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
  const kept = integers && keptLinear(layer, integers.bits)
  if (kept !== undefined) return packQuantised(name, layer, kept)
  const { rows } = layer
  yield
  if (rows === undefined || integers?.isAdaptive === true)
    return integers === undefined
      ? packFloats(name, layer)
      : packQuantised(name, layer, quantiseValues(layer, integers))
  return yield* packPieces(name, layer, (first, count) => {
    const piece = { weights: rows(first, count), inputs: layer.inputs, outputs: count }
    return integers === undefined
      ? packFloats(name, piece)
      : packQuantised(name, piece, quantiseValues(piece, integers))
  })
}

const PIECE_VALUES = 256 * 1024

/** Packs some whole tiles at a time, so that the layer's values are never all in memory. */
function* packPieces(
  name: string,
  layer: LayerShape,
  pack: (first: number, count: number) => WeightSet,
): Steps<WeightSet> {
  const { inputs, outputs } = layer
  const most = Math.max(TILE, Math.floor(PIECE_VALUES / inputs / TILE) * TILE)
  let whole: WeightTensor | undefined
  for (let first = 0; first < outputs; first += most) {
    const piece = weightOf(pack(first, Math.min(most, outputs - first)), `${name}.tiles`)
    whole ??= withTiles(piece, tilesOf(outputs))
    copyTiles(piece, whole, first / TILE)
    yield
  }
  return { ...(whole && { [`${name}.tiles`]: whole }), ...packBias(name, layer) }
}

const valuesOf = ({ source }: WeightTensor): Float32Array | Uint8Array => {
  if ('folder' in source) throw new ClusterError('internal', 'tiles: want values, got a place in a file')
  return source
}

/** Room for so many tiles like those of a piece. */
function withTiles(piece: WeightTensor, tiles: number): WeightTensor {
  const [some = 1, ...rest] = piece.dims
  const length = (valuesOf(piece).length / some) * tiles
  const source = piece.element === 'float' ? new Float32Array(length) : new Uint8Array(length)
  return { ...piece, dims: [tiles, ...rest], source }
}

function copyTiles(piece: WeightTensor, whole: WeightTensor, firstTile: number): void {
  const values = valuesOf(piece)
  valuesOf(whole).set(values, (values.length / piece.dims[0]!) * firstTile)
}

const packFloats = (name: string, layer: LinearWeights): WeightSet => {
  const dims = [tilesOf(layer.outputs), layer.inputs, TILE]
  return { [`${name}.tiles`]: { element: 'float', dims, source: tileFloats(layer) }, ...packBias(name, layer) }
}

type LayerShape = Pick<LinearWeights, 'inputs' | 'outputs' | 'bias'>

/** Packs a layer's integers. */
export function packQuantised(name: string, layer: LayerShape, quantised: QuantisedLinear): WeightSet {
  const { bits, blocksPerScale, scaleNumbers } = quantised
  const layout = { bits, blocks: layer.inputs / BLOCK_SIZE, blocksPerScale, scales: scaleNumbers }
  const dims = [tilesOf(layer.outputs), tileBytes(layout)]
  const source = tileIntegers(quantised, layout, layer.outputs)
  return { [`${name}.tiles`]: { element: 'uint8', dims, layout, source }, ...packBias(name, layer) }
}

function packBias(name: string, { outputs, bias }: LayerShape): WeightSet {
  if (bias === undefined) return {}
  const source = Float32Array.from({ length: tilesOf(outputs) * TILE }, (_, i) => bias[i] ?? 0)
  return { [`${name}.bias`]: { element: 'float', dims: [source.length], source } }
}

function tileFloats({ weights, inputs, outputs }: LinearWeights): Float32Array {
  const tiles = new Float32Array(tilesOf(outputs) * inputs * TILE)
  for (let output = 0; output < outputs; output++) {
    const to = Math.floor(output / TILE) * inputs * TILE + (output % TILE)
    for (let input = 0; input < inputs; input++) tiles[to + input * TILE] = weights[output * inputs + input]!
  }
  return tiles
}

function tileIntegers(integers: QuantisedLinear, layout: TileLayout, outputs: number): Uint8Array {
  const { bits, blocks, blocksPerScale } = layout
  const bytesOfTile = tileBytes(layout)
  const bytes = new Uint8Array(tilesOf(outputs) * bytesOfTile)
  const scaleWords = new Uint16Array(bytes.buffer)
  const scales = scaleBits(integers.scales, layout.scales)
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
  return bytes
}

/** The kernels read signed bytes. */
function putInt8(integers: QuantisedLinear, block: number, bytes: Uint8Array, at: number, column: number): void {
  for (let i = 0; i < BLOCK_SIZE; i++) {
    bytes[at + (i >> 1) * 2 * TILE + column * 2 + (i & 1)] = levelAt(integers, block * BLOCK_SIZE + i)
  }
}

/** The kernels read levels with 8 added. */
function putInt4(integers: QuantisedLinear, block: number, bytes: Uint8Array, at: number, column: number): void {
  const word = (column & 3) * 4 // of the pair's 16 bytes: two 16-bit words, one per input
  const nibble = column >> 2
  for (let i = 0; i < BLOCK_SIZE; i++) {
    const level = levelAt(integers, block * BLOCK_SIZE + i) + 8
    bytes[at + (i >> 1) * TILE + word + (i & 1) * 2 + (nibble >> 1)]! |= level << ((nibble & 1) * 4)
  }
}
