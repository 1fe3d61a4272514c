// Linear layers in the layout of the kernels (`kernels/linear.ts`): tiles of 16 outputs. The last tile is filled up with
// zeros. A width that no block fits stays float32, in every format.

import type { WeightFormat } from '../model/spec.js'
import type { StoredBlocks } from '../model/stored-tensor.js'
import { bytesAt, floatsAt, placeFilled, roomFor, runPacking } from '../packing/packing-memory.js'
import { integerFormat, type IntegerFormat } from '../model/weight-formats.js'
import { roundToHalves } from './halves.js'
import { cutOf, integerRows } from './integer-rows.js'
import { pieces, rowsOf, scratchFor, TILE, type LinearWeights } from './linear-weights.js'
import { BLOCK_SIZE, isQuantisable } from './quantise.js'
import type { QuantisedLinear } from './quantised-linear.js'
import { takeBytes } from './recycled.js'
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
  integerFormat(format) !== undefined && isQuantisable(inputs) ? inputs / BLOCK_SIZE : 0

/** Packs a layer as `name.tiles` (bytes [tiles, tile bytes], or floats of either size [tiles, inputs, 16]) and `name.bias`. */
export function* packTiles(name: string, layer: LinearWeights, format: WeightFormat): Steps<WeightSet> {
  const stored = isQuantisable(layer.inputs) ? format : 'f32'
  const integers = integerFormat(stored)
  const tiles =
    integers !== undefined ? packIntegers(layer, integers) : stored === 'f16' ? packHalves(layer) : packFloats(layer)
  return { [`${name}.tiles`]: yield* tiles, ...packBias(name, layer) }
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
  const source = new Float32Array(takeBytes(tilesOf(outputs) * inputs * TILE * 4))
  yield* inPieces(layer, (first, count) =>
    source.set(tileFloats(read(first, count, scratchFor(count * inputs)), inputs), first * inputs),
  )
  return { element: 'float', dims: [tilesOf(outputs), inputs, TILE], source }
}

function* packHalves(layer: LinearWeights): Steps<WeightTensor> {
  const { inputs, outputs } = layer
  const read = rowsOf(layer)
  const source = new Uint16Array(takeBytes(tilesOf(outputs) * inputs * TILE * 2))
  yield* inPieces(layer, (first, count) => {
    const rows = read(first, count, scratchFor(count * inputs))
    roundToHalves(source.subarray(first * inputs), tileFloats(rows, inputs), layer, { first, rows })
  })
  return { element: 'float16', dims: [tilesOf(outputs), inputs, TILE], source }
}

function* packIntegers(layer: LinearWeights, format: IntegerFormat): Steps<WeightTensor> {
  const { inputs, outputs } = layer
  const { bits, blocksPerScale, scaleNumbers, rows } = yield* integerRows(layer, format)
  const layout = { bits, blocks: inputs / BLOCK_SIZE, blocksPerScale, scales: scaleNumbers }
  const bytesOfTile = tileBytes(layout)
  const source = new Uint8Array(takeBytes(tilesOf(outputs) * bytesOfTile))
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
  for (const { first, count } of pieces(layer)) {
    const piece = cutOf(quantised, layer.outputs, first, count)
    tileIntegers(piece, layout, source.subarray((first / TILE) * tileBytes(layout)))
  }
  return { [`${name}.tiles`]: { element: 'uint8', dims, layout, source }, ...packBias(name, layer) }
}

function packBias(name: string, { outputs, bias }: LayerShape): WeightSet {
  if (bias === undefined) return {}
  const source = Float32Array.from({ length: tilesOf(outputs) * TILE }, (_, i) => bias[i] ?? 0)
  return { [`${name}.bias`]: { element: 'float', dims: [source.length], source } }
}

/** Bytes of whole tiles that hold so many rows. */
const inTiles = (rows: number, rowBytes: number): number => tilesOf(rows) * TILE * rowBytes

/** To be used before others are tiled. */
function tileFloats(weights: Float32Array, inputs: number): Float32Array {
  const rows = weights.length / inputs
  const numBytes = inTiles(rows, inputs * 4)
  const [from, to] = [placeFilled('rows', weights, numBytes), roomFor('tiles', numBytes)]
  runPacking('tileFloats', from, tilesOf(rows), inputs, to)
  return floatsAt(to, numBytes / 4)
}

/** Levels from zero up that stand for zero: those of the outputs that fill up the last tile, as they are in a tile. */
const NO_LEVEL = { 8: 128, 4: 0 } as const

function tileIntegers({ data, scales }: StoredBlocks, layout: TileLayout, tiles: Uint8Array): void {
  const { bits, blocks, blocksPerScale } = layout
  const scalesOfRow = Math.ceil(blocks / blocksPerScale)
  const rows = scales.length / scalesOfRow
  const levels = placeFilled('levels', data, inTiles(rows, (blocks * BLOCK_SIZE * bits) / 8), NO_LEVEL[bits])
  const scalesAt = placeFilled('scales', scales, inTiles(rows, scalesOfRow * 4))
  const numBytes = tilesOf(rows) * tileBytes(layout)
  const to = roomFor('tiles', numBytes)
  const kernel = bits === 8 ? 'tileInt8' : 'tileInt4'
  runPacking(kernel, layout.scales === 'float16' ? 1 : 0, levels, tilesOf(rows), blocks, blocksPerScale, scalesAt, to)
  tiles.set(bytesAt(to, numBytes))
}
