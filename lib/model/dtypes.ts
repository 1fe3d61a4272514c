// Published number formats to float32. All are exact: float32 holds every F16, BF16 and FP8 value.

import { ClusterError } from '../errors.js'
import { FP8_E4M3, FP8_E5M2, FP8_E8M0 } from './small-floats.js'

/** Converts little-endian values; `what` names the tensor in the error. Throws `unimplemented` for other dtypes. */
export function toFloat32(bytes: Uint8Array<ArrayBuffer>, dtype: string, what: string): Float32Array {
  switch (dtype) {
    case 'F32':
      return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
    case 'BF16':
      return fromBfloat16(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2))
    case 'F16':
      return fromFloat16(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2))
    case 'F8_E4M3':
      return fromCodes(bytes, FP8_E4M3)
    case 'F8_E5M2':
      return fromCodes(bytes, FP8_E5M2)
    case 'F8_E8M0':
      return fromCodes(bytes, FP8_E8M0)
    default:
      throw new ClusterError('unimplemented', `${what}: dtype ${dtype}, want F32, F16, BF16 or F8_E4M3`)
  }
}

function fromCodes(codes: Uint8Array, table: Float32Array): Float32Array {
  const values = new Float32Array(codes.length)
  for (let i = 0; i < codes.length; i++) values[i] = table[codes[i]!]!
  return values
}

function fromBfloat16(values: Uint16Array): Float32Array {
  const bits = new Uint32Array(values.length)
  for (let i = 0; i < values.length; i++) bits[i] = values[i]! << 16
  return new Float32Array(bits.buffer)
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

function fromFloat16(values: Uint16Array): Float32Array {
  const bits = new Uint32Array(values.length)
  for (let i = 0; i < values.length; i++) bits[i] = widen(values[i]!)
  return new Float32Array(bits.buffer)
}
