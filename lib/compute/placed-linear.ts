// A linear layer in the engine's memory, and the tasks of its product with rows of activations.

import { ClusterError } from '../errors.js'
import { OP, type Kernels, type Phase, type Task } from './kernels.js'
import { placeWeight, type PlacedWeight } from './placed-weight.js'
import { BLOCK_SIZE } from './quantise.js'
import { cut } from './room.js'
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

/** Copies a layer packed by `packTiles` into the engine's memory. */
export function placeLinear(kernels: Kernels, set: WeightSet, name: string): PlacedLinear {
  const tensor = weightOf(set, `${name}.tiles`)
  const { layout } = tensor
  const [tiles = 0, middle = 0] = tensor.dims
  const blocks = layout?.blocks ?? 0
  const inputs = layout === undefined ? middle : blocks * BLOCK_SIZE
  const weights = placeWeight(kernels, tensor)
  const bias = set[`${name}.bias`] && placeWeight(kernels, weightOf(set, `${name}.bias`))
  return {
    op: layout === undefined ? OP.linearFloat : opOf(layout),
    address: weights.address,
    inputs,
    tiles,
    tileBytes: layout === undefined ? inputs * TILE * 4 : tileBytes(layout),
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

/** The product's tasks, in about `pieces` pieces of whole tiles. */
export function linearTasks(linear: PlacedLinear, rows: LinearRows, pieces: number): Phase {
  const size = Math.max(1, Math.ceil(linear.tiles / pieces))
  const tasks: Task[] = []
  for (let tile = 0; tile < linear.tiles; tile += size) {
    tasks.push([
      linear.op,
      linear.address + tile * linear.tileBytes,
      linear.blocks === 0 ? linear.inputs : linear.blocks,
      Math.min(size, linear.tiles - tile),
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
    ])
  }
  return tasks
}

/** Rows of float32 that a product reads rounded, `stride` bytes apart. All addresses. */
export interface FloatRows {
  readonly x: number
  readonly stride: number
  readonly rows: number
  readonly y: number
}

/** Tasks that round rows to what `reader` reads. */
export const roundingTasks = (
  reader: Pick<PlacedLinear, 'blocks' | 'rowBytes'>,
  { x, stride, rows, y }: FloatRows,
  pieces: number,
): Phase =>
  cut(rows, pieces).map(({ first, size }) => [
    OP.quantise,
    x + first * stride,
    stride,
    reader.blocks,
    size,
    y + first * reader.rowBytes,
    reader.rowBytes,
  ])
