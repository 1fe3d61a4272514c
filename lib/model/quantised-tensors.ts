// Tensors that a checkpoint publishes as small numbers with scales beside them, read as the tensors that they stand for.
//
//   X (F8_E4M3) with X_scale_inv or X_scale: a scale per block of the last two axes, per row, or one for all.
//   X_blocks [items, rows, inputs / 32, 16] with X_scales [items, rows, inputs / 32]: MXFP4 of X [items, inputs, rows],
//     two values a byte, the low nibble first; scales are exponents of two.
//
// Invariants
//   QT1  Values are those of the reference: the small number times its scale, rounded to float32 once.
//   QT2  A tensor with scales takes their place: nobody sees the parts.
//   QT3  MXFP4 as integers is exact: twice a value is a whole number, half a scale still a power of two.

import { ClusterError } from '../errors.js'
import { FP4_E2M1, FP4_LEVELS, FP8_E8M0, HALF_E8M0 } from './small-floats.js'
import { sizeOf, type StoredTensor } from './stored-tensor.js'

type Tensors = ReadonlyMap<string, StoredTensor>

/** Rows and columns of an FP8 matrix that share a scale. */
type BlockSize = readonly [number, number]

const FP8 = ['F8_E4M3', 'F8_E5M2']
const SCALE_NAMES = ['_scale_inv', '_scale']
const BLOCKS = '_blocks'
const SCALES = '_scales'

/** The tensors of all files, where some are quantised. `blockSize` is FP8's, as the configuration gives it. */
export function joinQuantised(tensors: Tensors, blockSize: BlockSize): Tensors {
  const joined = new Map(tensors)
  for (const tensor of tensors.values()) {
    if (FP8.includes(tensor.dtype)) joinFp8(joined, tensor, blockSize)
    else if (tensor.name.endsWith(BLOCKS) && tensor.dtype === 'U8') joinMxfp4(joined, tensor)
  }
  return joined
}

function joinFp8(joined: Map<string, StoredTensor>, tensor: StoredTensor, blockSize: BlockSize): void {
  const scales = SCALE_NAMES.map((suffix) => joined.get(tensor.name + suffix)).find((found) => found !== undefined)
  if (scales === undefined) return // the numbers as they are
  joined.delete(scales.name)
  joined.set(tensor.name, fp8Tensor(tensor, scales, blockSize))
}

function fp8Tensor(tensor: StoredTensor, scales: StoredTensor, blockSize: BlockSize): StoredTensor {
  const [rows = 1, width = 1] = tensor.shape.slice(-2)
  const grid = gridOf(tensor, scales, blockSize)
  const [blockRows, blockColumns] = grid.blockSize
  const scaleRowOf = (row: number): number => Math.floor(row / rows) * grid.rows + Math.floor((row % rows) / blockRows)
  return {
    ...tensor,
    numBytes: tensor.numBytes + scales.numBytes,
    readRows: (first, count, into) => {
      const values = tensor.readRows(first, count, into)
      if (values.length === 0) return values
      const firstScale = scaleRowOf(first)
      const factors = readFlat(scales, firstScale, scaleRowOf(first + count - 1) - firstScale + 1, grid.columns)
      for (let i = 0; i < count; i++) {
        const factorRow = (scaleRowOf(first + i) - firstScale) * grid.columns
        for (let block = 0; block < grid.columns; block++) {
          const factor = factors[factorRow + block]!
          const end = i * width + Math.min(width, (block + 1) * blockColumns)
          for (let at = i * width + block * blockColumns; at < end; at++) values[at] = values[at]! * factor
        }
      }
      return values
    },
  }
}

interface ScaleGrid {
  readonly rows: number // of an item
  readonly columns: number
  readonly blockSize: BlockSize
}

/** How a matrix is cut by its scales: one in all, one a row, or one a block. */
function gridOf(tensor: StoredTensor, scales: StoredTensor, blockSize: BlockSize): ScaleGrid {
  const [rows = 1, columns = 1] = tensor.shape.slice(-2)
  const items = sizeOf(tensor.shape.slice(0, -2))
  const [blockRows, blockColumns] = blockSize
  const candidates: readonly ScaleGrid[] = [
    { rows: Math.ceil(rows / blockRows), columns: Math.ceil(columns / blockColumns), blockSize },
    { rows, columns: 1, blockSize: [1, columns] },
    { rows: 1, columns: 1, blockSize: [rows, columns] },
  ]
  const found = scales.shape.join()
  const fits = candidates.find((grid) =>
    [[...tensor.shape.slice(0, -2), grid.rows, grid.columns].join(), ...flatForms(items, grid)].includes(found),
  )
  if (fits !== undefined) return fits
  const [first] = candidates
  throw new ClusterError(
    'invalid_argument',
    `${scales.file}: tensor ${scales.name}: want [${first?.rows}, ${first?.columns}] (blocks of ${blockRows} × ${blockColumns}), ` +
      `[${rows}, 1] or [1] for ${tensor.dtype} ${tensor.name} [${tensor.shape.join(', ')}], got [${scales.shape.join(', ')}]`,
  )
}

/** A column of scales, or a single one, is published flat too. */
const flatForms = (items: number, { rows, columns }: ScaleGrid): readonly string[] =>
  items > 1 || columns > 1 ? [] : rows === 1 ? ['', '1'] : [String(rows)]

/** Rows of a grid of scales, however flat it was published. Bytes are exponents. */
function readFlat(scales: StoredTensor, first: number, count: number, columns: number): Float32Array {
  const isFlat = (scales.shape.at(-1) ?? 1) !== columns || scales.shape.length < 2
  if (!isFlat) return scales.readRows(first, count)
  return scales.readRows(0, 1).subarray(first * columns, (first + count) * columns)
}

function joinMxfp4(joined: Map<string, StoredTensor>, blocks: StoredTensor): void {
  const name = blocks.name.slice(0, -BLOCKS.length)
  const scales = joined.get(name + SCALES)
  const refuse = (tensor: StoredTensor, wanted: string): never => {
    throw new ClusterError(
      'invalid_argument',
      `${tensor.file}: tensor ${tensor.name}: want ${wanted}, got ${tensor.dtype} [${tensor.shape.join(', ')}]`,
    )
  }
  const shape = blocks.shape
  if (scales === undefined) return refuse(blocks, `MXFP4 scales ${name}${SCALES} beside it`)
  if (shape.length < 3 || shape.at(-1) !== 16) return refuse(blocks, 'MXFP4 blocks U8 [items, rows, inputs / 32, 16]')
  if (scales.dtype !== 'U8' || scales.shape.join() !== shape.slice(0, -1).join())
    return refuse(scales, `MXFP4 scales U8 [${shape.slice(0, -1).join(', ')}]`)
  joined.delete(blocks.name)
  joined.delete(scales.name)
  joined.set(name, mxfp4Tensor(name, blocks, scales))
}

function mxfp4Tensor(name: string, blocks: StoredTensor, scales: StoredTensor): StoredTensor {
  const [rows = 0, numBlocks = 0] = blocks.shape.slice(-3)
  return {
    name,
    file: blocks.file,
    dtype: 'MXFP4',
    shape: [...blocks.shape.slice(0, -3), numBlocks * 32, rows],
    isTransposed: true,
    numBytes: blocks.numBytes + scales.numBytes,
    readRows: (first, count, values = new Float32Array(count * numBlocks * 32)) => {
      const bytes = rawRows(blocks, first * numBlocks, count * numBlocks)
      const exponents = rawRows(scales, first, count)
      for (let block = 0; block < exponents.length; block++) {
        const scale = FP8_E8M0[exponents[block]!]!
        for (let i = 0; i < 16; i++) {
          const byte = bytes[block * 16 + i]!
          values[block * 32 + 2 * i] = FP4_E2M1[byte & 15]! * scale
          values[block * 32 + 2 * i + 1] = FP4_E2M1[byte >> 4]! * scale
        }
      }
      return values
    },
    blockBits: 8,
    readBlocks: (first, count) => {
      const bytes = rawRows(blocks, first * numBlocks, count * numBlocks)
      const exponents = rawRows(scales, first, count)
      const data = new Uint8Array(bytes.length * 2)
      for (let i = 0; i < bytes.length; i++) {
        data[2 * i] = FP4_LEVELS[bytes[i]! & 15]!
        data[2 * i + 1] = FP4_LEVELS[bytes[i]! >> 4]!
      }
      const scaleOf = new Float32Array(exponents.length)
      for (let i = 0; i < exponents.length; i++) scaleOf[i] = HALF_E8M0[exponents[i]!]!
      return { bits: 8, data, scales: scaleOf }
    },
  }
}

function rawRows(tensor: StoredTensor, first: number, count: number): Uint8Array {
  if (tensor.readRaw !== undefined) return tensor.readRaw(first, count)
  throw new ClusterError('unimplemented', `${tensor.file}: tensor ${tensor.name}: its bytes cannot be read`)
}
