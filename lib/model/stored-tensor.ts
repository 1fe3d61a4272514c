// Tensors as the files of a checkpoint hold them, whatever the file format and the format of their numbers.
//
// Invariants
//   TN1  A tensor is read by rows: nobody needs more of it in memory than what it asked for.

/** One published tensor. */
export interface StoredTensor {
  readonly name: string // as the families know it
  readonly file: string // path, for errors
  readonly dtype: string // as the file names it
  readonly shape: readonly number[]
  readonly numBytes: number // in the file
  /**
   * Rows first … first + count - 1 as float32, where the last axis is a row and all others count rows. Of a tensor that
   * lies transposed, rows are columns of `shape`'s last two axes. Throws `invalid_argument` for rows that it lacks,
   * `unimplemented` for a dtype that is not served; values are not judged. They may be written to `into`, where there is
   * one, which is then what is returned.
   */
  readRows(first: number, count: number, into?: Float32Array): Float32Array
  /** The same rows as the file's own bytes, where a row is whole bytes of its own. */
  readonly readRaw?: (first: number, count: number) => Uint8Array
  /** The file holds the last two axes the other way round than `shape` says: reading it by columns costs nothing. */
  readonly isTransposed?: boolean
  /** The same rows as integers in blocks of 32 with a scale each, where the file holds them so (Q8_0, Q4_0, MXFP4). */
  readonly readBlocks?: (first: number, count: number) => StoredBlocks
  readonly blockBits?: 4 | 8 // of what `readBlocks` gives
}

/** Rows of integers: value = scale · (level - zero), zero being 128 for 8 bits and 8 for 4 bits. */
export interface StoredBlocks {
  readonly bits: 4 | 8
  readonly data: Uint8Array // [rows, in / 32, 32 * bits / 8], low nibble first
  readonly scales: Float32Array // [rows, in / 32]
}

/** An open file of tensors. */
export interface TensorFile {
  readonly path: string
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** The text or bytes that describe the tensors, for fingerprints. */
  readonly header: string | Uint8Array
  readonly sizeBytes: number
  /** Fills `bytes` with raw ones from an offset of the file on, for fingerprints. */
  readInto(bytes: Uint8Array, offset: number): void
  close(): void
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, axis) => product * axis, 1)

/** Values in a row, as `readRows` counts them. */
export const rowWidth = ({ shape, isTransposed = false }: Pick<StoredTensor, 'shape' | 'isTransposed'>): number =>
  shape.at(isTransposed ? -2 : -1) ?? 1

/** Rows, as `readRows` counts them. */
export function numRows(tensor: Pick<StoredTensor, 'shape' | 'isTransposed'>): number {
  const width = rowWidth(tensor)
  return width === 0 ? 0 : sizeOf(tensor.shape) / width
}
