// A linear layer in the engine's memory, and the tasks of its product with rows of activations. How a product is cut into
// tasks decides nothing: each output is computed alone.

import { ClusterError } from '../errors.js'
import { OP, type Kernels } from './kernels.js'
import { placeWeight, type PlacedWeight } from './placed-weight.js'
import { BLOCK_SIZE } from './quantise.js'
import { pieceOf } from './room.js'
import { TILE, tileBytes } from './tiles.js'
import { weightOf, type TileLayout, type WeightSet } from './weight-store.js'

export interface PlacedLinear {
  readonly op: number
  readonly address: number
  readonly inputs: number
  readonly tiles: number
  readonly tileBytes: number
  readonly blocksPerScale: number
  readonly bias: number // address, 0: none
  /** Blocks of a row that the product reads rounded; 0: it reads float32. */
  readonly blocks: number
  /** Bytes of a row of activations as the product reads it. */
  readonly rowBytes: number
  /** Bytes of a row of results: whole tiles of float32. */
  readonly outputBytes: number
  dispose(): void
}

/** Rows of activations, gathered by a list, and where the products go. All addresses. */
export interface LinearRows {
  readonly x: number
  readonly xStride?: number // bytes; those of a row as the product reads it, unless given
  readonly rowList: number
  readonly rows: number
  readonly y: number
  readonly yStride?: number // bytes; whole tiles of float32, unless given
  readonly rowWeights?: number // factors of the bias
}

/** Bytes of a rounded row: 16-bit integers, then a scale and an offset per block. */
export const roundedBytes = (blocks: number): number => blocks * (BLOCK_SIZE * 2 + 8)

const FLOATS = { f32: { op: OP.linearFloat, numBytes: 4 }, f16: { op: OP.linearFloat16, numBytes: 2 } } as const

/** Copies a layer packed by `packTiles` into the engine's memory. */
export function placeLinear(kernels: Kernels, set: WeightSet, name: string): PlacedLinear {
  const tensor = weightOf(set, `${name}.tiles`)
  const { layout, element } = tensor
  const [tiles = 0, middle = 0] = tensor.dims
  const blocks = layout?.blocks ?? 0
  const inputs = layout === undefined ? middle : blocks * BLOCK_SIZE
  const floats = element === 'float16' ? FLOATS.f16 : FLOATS.f32
  const weights = placeWeight(kernels, tensor)
  const bias = set[`${name}.bias`] && placeWeight(kernels, weightOf(set, `${name}.bias`))
  return {
    op: layout === undefined ? floats.op : opOf(layout),
    address: weights.address,
    inputs,
    tiles,
    tileBytes: layout === undefined ? inputs * TILE * floats.numBytes : tileBytes(layout),
    blocksPerScale: layout?.blocksPerScale ?? 1,
    bias: bias?.address ?? 0,
    blocks,
    rowBytes: layout === undefined ? inputs * 4 : roundedBytes(blocks),
    outputBytes: tiles * TILE * 4,
    dispose: () => [weights, bias].forEach((placed?: PlacedWeight) => placed?.dispose()),
  }
}

function opOf({ bits, blocksPerScale, scales }: TileLayout): number {
  if (scales === 'float16' && blocksPerScale > 1) {
    throw new ClusterError('internal', `weights: want float16 scales per block, got one for ${blocksPerScale} blocks`)
  }
  if (scales === 'float16') return bits === 8 ? OP.linearInt8Halves : OP.linearInt4Halves
  if (blocksPerScale > 1) return bits === 8 ? OP.linearInt8Groups : OP.linearInt4Groups
  return bits === 8 ? OP.linearInt8 : OP.linearInt4
}

/** A product of rows. */
export interface Product {
  readonly linear: PlacedLinear
  readonly rows: LinearRows
}

/** Products that may run at the same time, in pieces of whole tiles: large ones first, so that the threads end together. */
export function addProducts(kernels: Kernels, products: readonly Product[]): void {
  let left = 0 // tiles
  for (const { linear } of products) left += linear.tiles
  for (const { linear, rows } of products) {
    const least = Math.ceil(LEAST_BYTES / (linear.tileBytes * rows.rows))
    for (let tile = 0; tile < linear.tiles;) {
      const fair = Math.ceil(left / (PARTS_PER_THREAD * kernels.threads))
      const size = Math.min(linear.tiles - tile, Math.max(least, fair))
      addTiles(kernels, { linear, rows }, tile, size)
      tile += size
      left -= size
    }
  }
}

/** One of what is left of a phase goes to a thread at a time. */
const PARTS_PER_THREAD = 2
const LEAST_BYTES = 2 ** 14 // of weights, read for each row, that are worth a task

export const addProduct = (kernels: Kernels, linear: PlacedLinear, rows: LinearRows): void =>
  addProducts(kernels, [{ linear, rows }])

/** One task: `size` tiles of a product, from `tile` on. */
export function addTiles(kernels: Kernels, { linear, rows }: Product, tile: number, size: number): void {
  kernels.task(
    linear.op,
    linear.address + tile * linear.tileBytes,
    linear.blocks === 0 ? linear.inputs : linear.blocks,
    size,
    rows.x,
    rows.xStride ?? linear.rowBytes,
    rows.rowList,
    rows.rows,
    rows.y + tile * TILE * 4,
    rows.yStride ?? linear.outputBytes,
    linear.bias === 0 ? 0 : linear.bias + tile * TILE * 4,
    rows.rowWeights ?? 0,
    linear.tileBytes,
    linear.blocksPerScale,
  )
}

/** Rows of float32 that a product reads rounded, `stride` bytes apart. All addresses. */
export interface FloatRows {
  readonly x: number
  readonly stride: number
  readonly rows: number
  readonly y: number
}

/** Rounds rows to what `reader` reads. */
export function addRounding(
  kernels: Kernels,
  { blocks, rowBytes }: Pick<PlacedLinear, 'blocks' | 'rowBytes'>,
  { x, stride, rows, y }: FloatRows,
): void {
  const most = pieceOf(rows, kernels.threads)
  for (let first = 0; first < rows; first += most) {
    const size = Math.min(most, rows - first)
    kernels.task(OP.quantise, x + first * stride, stride, blocks, size, y + first * rowBytes, rowBytes)
  }
}
