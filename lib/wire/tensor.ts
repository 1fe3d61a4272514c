// Tensors on the wire: dtype, shape and little-endian bytes. A `q16` tensor has rows as products read them: a row's int16
// values, then per block of 32 a float32 scale, then per block an int32 offset (-8 times the block's sum).
// Views never outlive their frame unaligned: what is not aligned for its dtype is copied once when it is read.

import { ClusterError } from '../errors.js'

export type TensorData = Float32Array | Int32Array
export type WireDtype = 'f32' | 'i32' | 'q16'

/** [shape…] row-major. The product of `shape` equals the number of elements in `data`. */
export interface WireTensor {
  readonly dtype: WireDtype
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

/** Whether a decoded value has a tensor's form; its size is checked when it is read. */
export function isWireTensor(value: unknown): value is WireTensor {
  if (typeof value !== 'object' || value === null) return false
  const { dtype, shape, data } = value as Partial<Record<keyof WireTensor, unknown>> // any object may be looked at so
  return (dtype === 'f32' || dtype === 'i32' || dtype === 'q16') && isShape(shape) && data instanceof Uint8Array
}

function isShape(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > 8) return false
  for (const size of value as readonly unknown[])
    if (typeof size !== 'number' || !Number.isInteger(size) || size < 0) return false
  return true
}

const FEW = 16 // values that are copied faster than a view is made: small arrays have no buffer until somebody asks for it

const bytesOf = (data: TensorData): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

function bytesOfFew(values: ArrayLike<number>): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    bytes[4 * i] = value
    bytes[4 * i + 1] = value >> 8
    bytes[4 * i + 2] = value >> 16
    bytes[4 * i + 3] = value >> 24
  }
  return bytes
}

function fewOf(bytes: Uint8Array): Int32Array {
  const values = new Int32Array(bytes.length / 4)
  for (let i = 0; i < values.length; i++) {
    const [low, high] = [bytes[4 * i]! | (bytes[4 * i + 1]! << 8), bytes[4 * i + 2]! | (bytes[4 * i + 3]! << 8)]
    values[i] = low | (high << 16)
  }
  return values
}

export function packF32(data: Float32Array, shape: readonly number[] = [data.length]): WireTensor {
  return { dtype: 'f32', shape, data: bytesOf(data) }
}

export function packI32(values: ArrayLike<number>): WireTensor {
  const shape = [values.length]
  if (values.length <= FEW) return { dtype: 'i32', shape, data: bytesOfFew(values) }
  return { dtype: 'i32', shape, data: bytesOf(values instanceof Int32Array ? values : new Int32Array(values)) }
}

const BLOCK_VALUES = 32
const BLOCK_BYTES = 72

/** Bytes of a `q16` row. */
export const q16RowBytes = (width: number): number => (width / BLOCK_VALUES) * BLOCK_BYTES

export function packQ16(data: Uint8Array, rows: number, width: number): WireTensor {
  return { dtype: 'q16', shape: [rows, width], data }
}

/** The bytes of a `q16` tensor of that width. Throws `invalid_argument` on another form or size. */
export function readQ16({ dtype, shape, data }: WireTensor, name: string, width: number): Uint8Array {
  const [rows = 0] = shape
  if (dtype !== 'q16' || shape.length !== 2 || shape[1] !== width || width % BLOCK_VALUES !== 0) {
    throw new ClusterError('invalid_argument', `${name}: want q16 [rows, ${width}], got ${dtype} [${shape.join(', ')}]`)
  }
  if (data.byteLength !== rows * q16RowBytes(width)) {
    const wanted = rows * q16RowBytes(width)
    throw new ClusterError('invalid_argument', `${name}: want ${wanted} bytes for ${rows} rows, got ${data.byteLength}`)
  }
  return data
}

function checked(tensor: WireTensor, dtype: WireDtype, name: string): Uint8Array {
  if (tensor.dtype !== dtype)
    throw new ClusterError('invalid_argument', `${name}: want dtype ${dtype}, got ${tensor.dtype}`)
  let numElements = 1
  for (const size of tensor.shape) numElements *= size
  if (tensor.data.byteLength !== numElements * 4) {
    throw new ClusterError(
      'invalid_argument',
      `${name}: shape [${tensor.shape.join(', ')}] wants ${numElements * 4} bytes, got ${tensor.data.byteLength}`,
    )
  }
  return tensor.data
}

const aligned = (data: Uint8Array): Uint8Array => (data.byteOffset % 4 === 0 ? data : new Uint8Array(data))

/** The bytes of an `f32` tensor, wherever they begin. Throws `invalid_argument` on a wrong dtype or size. */
export const bytesOfF32 = (tensor: WireTensor, name: string): Uint8Array => checked(tensor, 'f32', name)

/** The values of an `f32` tensor; a view where the bytes are aligned. Throws `invalid_argument` on a wrong dtype or size. */
export function readF32(tensor: WireTensor, name: string): Float32Array {
  const bytes = aligned(checked(tensor, 'f32', name))
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}

/** The values of an `i32` tensor; a view of many where the bytes are aligned. Throws `invalid_argument` as `readF32`. */
export function readI32(tensor: WireTensor, name: string): Int32Array {
  const data = checked(tensor, 'i32', name)
  if (data.byteLength <= 4 * FEW) return fewOf(data)
  const bytes = aligned(data)
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}
