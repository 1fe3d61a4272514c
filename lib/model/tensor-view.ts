// Reads what a `TensorRef` names out of a stored tensor: an item of a fused tensor, its transpose, some of its rows.
//
// Invariants
//   TV1  Beyond the result, no more than a piece of about a megabyte is in memory; of blocks in another order, their matrix.
//   TV2  Of a fused tensor only the item's own bytes are read.
//   TV3  What is handed out is finite: NaNs and infinities are refused where they are read.

import { ClusterError } from '../errors.js'
import { floatsAt, PIECE_VALUES, placeIn, roomFor, runPacking } from '../packing/packing-memory.js'
import type { TensorRef } from './spec.js'
import { rowWidth, sizeOf, type StoredBlocks, type StoredTensor } from './stored-tensor.js'

/** Shape of the published tensor that a reference is (a part of). */
export const storedShape = ({ shape, part }: TensorRef): readonly number[] => part?.stored ?? shape

/** Rows of a reference: all axes but the last; of a vector, one. */
export const rowsOf = ({ shape }: TensorRef): number => sizeOf(shape.slice(0, -1))

/** A whole tensor as float32. Throws `invalid_argument` naming file and tensor where it is not finite. */
export const readTensor = (stored: StoredTensor, ref: TensorRef): Float32Array =>
  readTensorRows(stored, ref, { first: 0, count: rowsOf(ref) })

/** Rows of a matrix; they may be written to `into`, where there is one, which is then what is returned. */
export function readTensorRows(stored: StoredTensor, ref: TensorRef, rows: Rows, into?: Float32Array): Float32Array {
  const values = isVector(ref) ? readVector(stored, ref) : readMatrix(stored, ref, rows, into)
  refuseNonFinite(values, stored, ref, rows.first)
  const { times = 1, plus = 0 } = ref
  if (times !== 1 || plus !== 0) for (let i = 0; i < values.length; i++) values[i] = values[i]! * times + plus
  return values
}

/** Rows of a matrix as the file's own integers, where it holds them along the rows that the reference asks for. */
export function readTensorBlocks(
  stored: StoredTensor,
  ref: TensorRef,
  first = 0,
  count = rowsOf(ref) - first,
): StoredBlocks | undefined {
  const isScaled = ref.times !== undefined || ref.plus !== undefined
  const lies = layoutOf(stored, ref)
  if (stored.readBlocks === undefined || isScaled || !lies.isByRows || isVector(ref)) return undefined
  const rowOf = ref.part?.rowOf
  const blocks =
    rowOf === undefined
      ? stored.readBlocks(lies.firstRow + first, count)
      : chosenBlocks(stored.readBlocks, lies, { count, rowOf: (row) => rowOf(first + row) })
  refuseNonFinite(blocks.scales, stored, { ...ref, shape: [count, blocks.scales.length / count] }, first, 'scales')
  return blocks
}

interface RowChoice {
  readonly count: number
  readonly rowOf: (row: number) => number // of the item
}

/** Rows of blocks in another order, or some of them: all between the first and the last of them are read. */
function chosenBlocks(
  read: (first: number, count: number) => StoredBlocks,
  { firstRow }: Pick<Layout, 'firstRow'>,
  { count, rowOf }: RowChoice,
): StoredBlocks {
  let [low, high] = [Infinity, 0]
  for (let row = 0; row < count; row++) [low, high] = [Math.min(low, rowOf(row)), Math.max(high, rowOf(row))]
  const rows = high - low + 1
  const { bits, data, scales } = read(firstRow + low, rows)
  const [rowBytes, rowScales] = [data.length / rows, scales.length / rows]
  const chosen = { bits, data: new Uint8Array(count * rowBytes), scales: new Float32Array(count * rowScales) }
  for (let row = 0; row < count; row++) {
    const from = rowOf(row) - low
    chosen.data.set(data.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes)
    chosen.scales.set(scales.subarray(from * rowScales, (from + 1) * rowScales), row * rowScales)
  }
  return chosen
}

export interface Rows {
  readonly first: number
  readonly count: number
}

/** Shape of the item that a reference lies in. */
const itemShape = (ref: TensorRef): readonly number[] =>
  ref.part?.item === undefined ? storedShape(ref) : storedShape(ref).slice(1)

const isVector = (ref: TensorRef): boolean => itemShape(ref).length === 1

interface Layout {
  /** Rows of the file are rows of the reference; otherwise its columns. */
  readonly isByRows: boolean
  readonly firstRow: number // of the item, in the file
  readonly width: number // of a row in the file
  readonly rows: number // of the item, in the file
}

function layoutOf(stored: StoredTensor, ref: TensorRef): Layout {
  const width = rowWidth(stored)
  const rows = sizeOf(itemShape(ref)) / width
  const isByRows = (ref.part?.isTransposed ?? false) === (stored.isTransposed ?? false)
  if (!isByRows && itemShape(ref).length !== 2)
    throw new ClusterError('internal', `tensor ${ref.name}: want one matrix of it, got [${itemShape(ref).join(', ')}]`)
  return { isByRows, firstRow: (ref.part?.item ?? 0) * rows, width, rows }
}

function readVector(stored: StoredTensor, { shape: [size = 0], part }: TensorRef): Float32Array {
  const all = stored.readRows(part?.item ?? 0, 1)
  const rowOf = part?.rowOf
  return rowOf === undefined ? all : Float32Array.from({ length: size }, (_, i) => all[rowOf(i)]!)
}

function readMatrix(stored: StoredTensor, ref: TensorRef, wanted: Rows, into?: Float32Array): Float32Array {
  const layout = layoutOf(stored, ref)
  const { part } = ref
  const rowOf = part?.rowOf
  if (!layout.isByRows) return readColumns(stored, layout, { rowOf: (row) => row, ...part, ...wanted }, into)
  return rowOf === undefined
    ? stored.readRows(layout.firstRow + wanted.first, wanted.count, into)
    : readScattered(stored, layout, { ...wanted, rowOf }, into)
}

const pieceRows = (width: number): number => Math.max(1, Math.floor(PIECE_VALUES / width))

/** What passes from files to rows, one piece after the other. */
const pieceOf = (numValues: number): Float32Array => floatsAt(roomFor('columns', numValues * 4), numValues)

/** Rows in another order, or some of them: what lies between two of a piece is read too where it is little. */
function readScattered(
  stored: StoredTensor,
  { firstRow, width }: Layout,
  { first, count, rowOf }: Rows & RowChoice,
  result: Float32Array = new Float32Array(count * width),
): Float32Array {
  const most = pieceRows(width)
  const buffer = pieceOf(most * width)
  for (let done = 0; done < count;) {
    let [low, high, end] = [Infinity, -Infinity, done]
    for (; end < count; end++) {
      const row = rowOf(first + end)
      if (end > done && Math.max(high, row) - Math.min(low, row) >= most) break
      ;[low, high] = [Math.min(low, row), Math.max(high, row)]
    }
    const numRead = high - low + 1
    const piece = stored.readRows(firstRow + low, numRead, buffer.subarray(0, numRead * width))
    for (; done < end; done++) {
      const at = (rowOf(first + done) - low) * width
      result.set(piece.subarray(at, at + width), done * width)
    }
  }
  return result
}

/** Rows that are columns of the file. */
function readColumns(
  stored: StoredTensor,
  { firstRow, width, rows }: Layout,
  { first, count, rowOf }: Rows & RowChoice,
  result: Float32Array = new Float32Array(count * rows),
): Float32Array {
  const columns = Array.from({ length: count }, (_, i) => rowOf(first + i))
  const most = pieceRows(width)
  const buffer = pieceOf(Math.min(most, rows) * width)
  for (let at = 0; at < rows; at += most) {
    const numRead = Math.min(most, rows - at)
    const piece = stored.readRows(firstRow + at, numRead, buffer.subarray(0, numRead * width))
    for (let i = 0; i < count; i++) {
      for (let row = 0; row < numRead; row++) result[i * rows + at + row] = piece[row * width + columns[i]!]!
    }
  }
  return result
}

/** Whether no value is NaN or infinite. */
function areFinite(values: Float32Array): boolean {
  for (let first = 0; first < values.length; first += PIECE_VALUES) {
    const piece = values.subarray(first, first + PIECE_VALUES)
    if (runPacking('areFinite', placeIn('widened', piece), piece.length) === 0) return false
  }
  return true
}

function refuseNonFinite(
  values: Float32Array,
  stored: StoredTensor,
  ref: TensorRef,
  firstRow: number,
  what = 'values',
): void {
  if (areFinite(values)) return
  let [bad, where] = [0, -1]
  for (let i = 0; i < values.length; i++) {
    if (values[i]! - values[i]! === 0) continue
    if (bad === 0) where = i
    bad++
  }
  const width = ref.shape.at(-1) ?? 1
  const place = ref.shape.length < 2 ? [where] : [firstRow + Math.floor(where / width), where % width]
  const item = ref.part?.item === undefined ? '' : ` of item ${ref.part.item}`
  throw new ClusterError(
    'invalid_argument',
    `${stored.file}: tensor ${stored.name}: want finite ${what}, got ${bad} of ${values.length} that are not${item}, ` +
      `the first ${values[where]} at [${place.join(', ')}]`,
  )
}
