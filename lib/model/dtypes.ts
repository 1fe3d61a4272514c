// Published number formats to float32, which is exact: float32 holds every F16, BF16 and FP8 value. And float32 to float16,
// which rounds.

import { ClusterError } from '../errors.js'
import { addressOf, floatsAt, halvesAt, PIECE_VALUES, placeIn, roomFor, runPacking } from '../packing/packing-memory.js'
import { FP8_E4M3, FP8_E5M2, FP8_E8M0 } from './small-floats.js'

/** Little-endian values as float32, see `widenTo`. */
export function toFloat32(bytes: Uint8Array, dtype: string, what: string): Float32Array {
  const width = dtype === 'F32' ? 4 : dtype.startsWith('F8') ? 1 : 2
  const values = new Float32Array(bytes.length / width)
  widenTo(values, bytes, dtype, what)
  return values
}

/** Converts little-endian values into `to`; `what` names the tensor in the error. Throws `unimplemented` for other dtypes. */
export function widenTo(to: Float32Array, bytes: Uint8Array, dtype: string, what: string): void {
  const { buffer, byteOffset: at, byteLength: length } = bytes
  switch (dtype) {
    case 'F32':
      return to.set(new Float32Array(buffer, at, length / 4))
    case 'BF16':
      return widenHalves('widenBfloat16', bytes, to)
    case 'F16':
      return widenHalves('widenFloat16', bytes, to)
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

/** Numbers of two bytes, a piece at a time where they are not in the memory of the kernels. */
function widenHalves(kernel: 'widenBfloat16' | 'widenFloat16', bytes: Uint8Array, to: Float32Array): void {
  for (let first = 0; first < to.length; first += PIECE_VALUES) {
    const count = Math.min(PIECE_VALUES, to.length - first)
    const piece = to.subarray(first, first + count)
    const from = placeIn('bytes', bytes.subarray(first * 2, (first + count) * 2))
    const target = addressOf(piece)
    const address = target ?? roomFor('widened', count * 4)
    runPacking(kernel, from, count, address)
    if (target === undefined) piece.set(floatsAt(address, count))
  }
}

/** Rounds to float16 bits, to nearest with ties to even; whether float16 has all the values in its range. */
export function narrowTo(to: Uint16Array, values: Float32Array): boolean {
  let areWithin = true
  for (let first = 0; first < values.length; first += PIECE_VALUES) {
    const piece = values.subarray(first, first + PIECE_VALUES)
    const target = roomFor('bytes', piece.length * 2)
    if (runPacking('narrowFloat16', placeIn('widened', piece), piece.length, target) === 0) areWithin = false
    to.set(halvesAt(target, piece.length), first)
  }
  return areWithin
}

const TOO_LARGE = 65520 // halfway from the largest, 65504, to what would follow it

/** Place of the first value that float16 does not hold. */
export const beyondFloat16 = (values: Float32Array): number =>
  values.findIndex((value) => !(Math.abs(value) < TOO_LARGE))
