// Values as GGUF tensors hold them. Integer blocks hold the levels that our own kernels compute with
// (`lib/compute/quantise.ts`), and their scales: bfloat16 numbers, which float16 holds from 2^-14 up:
//
//   Q8_0  32 values: float16 scale, 32 × int8          value = scale · q
//   Q4_0  32 values: float16 scale, 16 bytes           value = scale · (q - 8); value i is the low half of byte i,
//                                                      value i + 16 its high half
//
// Invariants
//   GE1  A block's levels and scale are those of `quantise`; a scale below 2^-14 is rounded once more.
//   GE2  float16 is rounded to nearest, ties to even; a value beyond its range is refused, never infinity.

import { BLOCK_SIZE, quantise } from '../../compute/quantise.js'
import { ClusterError } from '../../errors.js'
import { beyondFloat16, narrowTo } from '../dtypes.js'

export type EncodedFormat = 'F32' | 'F16' | 'Q8_0' | 'Q4_0'

/** Values (whole blocks) as the file has them. Throws `invalid_argument` where float16 cannot hold a value or scale. */
export function encodeValues(format: EncodedFormat, values: Float32Array): Uint8Array {
  switch (format) {
    case 'F32':
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    case 'F16':
      return new Uint8Array(toFloat16(values).buffer)
    case 'Q8_0':
      return encodeBlocks(values, 8, writeLevels8)
    case 'Q4_0':
      return encodeBlocks(values, 4, writeLevels4)
  }
}

type WriteLevels = (levels: Uint8Array, block: number, out: Uint8Array, at: number) => void

function encodeBlocks(values: Float32Array, bits: 4 | 8, writeLevels: WriteLevels): Uint8Array {
  const { data, scales } = quantise(values, bits)
  const halves = new Uint8Array(toFloat16(scales).buffer)
  const blockBytes = 2 + (BLOCK_SIZE * bits) / 8
  const out = new Uint8Array(scales.length * blockBytes)
  for (let block = 0; block < scales.length; block++) {
    const at = block * blockBytes
    out[at] = halves[2 * block]!
    out[at + 1] = halves[2 * block + 1]!
    writeLevels(data, block, out, at + 2)
  }
  return out
}

function writeLevels8(levels: Uint8Array, block: number, out: Uint8Array, at: number): void {
  for (let i = 0; i < BLOCK_SIZE; i++) out[at + i] = levels[block * BLOCK_SIZE + i]! - 128
}

/** Ours: neighbours share a byte. Theirs: values half a block apart do. */
function writeLevels4(levels: Uint8Array, block: number, out: Uint8Array, at: number): void {
  const half = BLOCK_SIZE / 2
  const first = block * half
  const level = (i: number): number => (levels[first + (i >> 1)]! >> (i & 1 ? 4 : 0)) & 15
  for (let i = 0; i < half; i++) out[at + i] = level(i) | (level(i + half) << 4)
}

/** float32 to float16 bits. */
export function toFloat16(values: Float32Array): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(values.length)
  if (narrowTo(halves, values)) return halves
  const value = values[beyondFloat16(values)]
  throw new ClusterError('invalid_argument', `want values that float16 holds (up to 65504), got ${value}`)
}
