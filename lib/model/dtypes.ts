// Published number formats to float32. All are exact: float32 holds every F16, BF16 and FP8 value.

import { ClusterError } from '../errors.js'
import { FP8_E4M3, FP8_E5M2, FP8_E8M0 } from './small-floats.js'

/** Little-endian values as float32, see `widenTo`. */
export function toFloat32(bytes: Uint8Array<ArrayBuffer>, dtype: string, what: string): Float32Array {
  const width = dtype === 'F32' ? 4 : dtype.startsWith('F8') ? 1 : 2
  const values = new Float32Array(bytes.length / width)
  widenTo(values, bytes, dtype, what)
  return values
}

/** Converts little-endian values into `to`; `what` names the tensor in the error. Throws `unimplemented` for other dtypes. */
export function widenTo(to: Float32Array, bytes: Uint8Array<ArrayBuffer>, dtype: string, what: string): void {
  const { buffer, byteOffset: at, byteLength: length } = bytes
  switch (dtype) {
    case 'F32':
      return to.set(new Float32Array(buffer, at, length / 4))
    case 'BF16':
      return fromBfloat16(new Uint16Array(buffer, at, length / 2), to)
    case 'F16':
      return fromFloat16(new Uint16Array(buffer, at, length / 2), to)
    case 'F8_E4M3':
      return fromCodes(bytes, FP8_E4M3, to)
    case 'F8_E5M2':
      return fromCodes(bytes, FP8_E5M2, to)
    case 'F8_E8M0':
      return fromCodes(bytes, FP8_E8M0, to)
    default:
      throw otherDtype(what, dtype)
  }
}

const OTHER = /^([IU]\d+|BOOL|F64)$/

/** Throws `unimplemented` for the dtypes of safetensors that `widenTo` does not convert. */
export function requireConvertible(what: string, dtype: string): void {
  if (OTHER.test(dtype)) throw otherDtype(what, dtype)
}

const otherDtype = (what: string, dtype: string): ClusterError =>
  new ClusterError('unimplemented', `${what}: dtype ${dtype}, want F32, F16, BF16 or F8_E4M3`)

function fromCodes(codes: Uint8Array, table: Float32Array, to: Float32Array): void {
  for (let i = 0; i < codes.length; i++) to[i] = table[codes[i]!]!
}

const bitsOf = (to: Float32Array): Uint32Array => new Uint32Array(to.buffer, to.byteOffset, to.length)

function fromBfloat16(values: Uint16Array, to: Float32Array): void {
  const bits = bitsOf(to)
  for (let i = 0; i < values.length; i++) bits[i] = values[i]! << 16
}

/** Bits of the float32 with the value of a float16. */
function widen(half: number): number {
  const sign = (half & 0x8000) << 16
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13)
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13)
  if (fraction === 0) return sign
  const shift = Math.clz32(fraction) - 21 // subnormal: normalise
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13)
}

function fromFloat16(values: Uint16Array, to: Float32Array): void {
  const bits = bitsOf(to)
  for (let i = 0; i < values.length; i++) bits[i] = widen(values[i]!)
}
