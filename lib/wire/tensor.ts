// Tensors on the wire: dtype, shape and little-endian bytes. Views never outlive their frame unaligned: what is not
// aligned for its dtype is copied once when it is read.

import { ClusterError } from '../errors.js'

export type TensorData = Float32Array | Int32Array
export type WireDtype = 'f32' | 'i32'

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
  const isShape =
    Array.isArray(shape) && shape.length <= 8 && shape.every((size) => Number.isInteger(size) && size >= 0)
  return (dtype === 'f32' || dtype === 'i32') && isShape && data instanceof Uint8Array
}

const bytesOf = (data: TensorData): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

export function packF32(data: Float32Array, shape: readonly number[] = [data.length]): WireTensor {
  return { dtype: 'f32', shape, data: bytesOf(data) }
}

export function packI32(values: ArrayLike<number>): WireTensor {
  const data = values instanceof Int32Array ? values : Int32Array.from(values)
  return { dtype: 'i32', shape: [data.length], data: bytesOf(data) }
}

function aligned(tensor: WireTensor, dtype: WireDtype, name: string): Uint8Array {
  if (tensor.dtype !== dtype)
    throw new ClusterError('invalid_argument', `${name}: want dtype ${dtype}, got ${tensor.dtype}`)
  const numElements = tensor.shape.reduce((product, size) => product * size, 1)
  if (tensor.data.byteLength !== numElements * 4) {
    throw new ClusterError(
      'invalid_argument',
      `${name}: shape [${tensor.shape.join(', ')}] wants ${numElements * 4} bytes, got ${tensor.data.byteLength}`,
    )
  }
  return tensor.data.byteOffset % 4 === 0 ? tensor.data : Uint8Array.from(tensor.data)
}

/** The values of an `f32` tensor; a view where the bytes are aligned. Throws `invalid_argument` on a wrong dtype or size. */
export function readF32(tensor: WireTensor, name: string): Float32Array {
  const bytes = aligned(tensor, 'f32', name)
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}

/** The values of an `i32` tensor; a view where the bytes are aligned. Throws `invalid_argument` on a wrong dtype or size. */
export function readI32(tensor: WireTensor, name: string): Int32Array {
  const bytes = aligned(tensor, 'i32', name)
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}
