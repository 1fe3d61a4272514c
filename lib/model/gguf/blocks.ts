// Blocks of GGUF tensors to float32. d and m are float16, each factor of a product is small enough that the product is
// exact; the one subtraction or addition of a minimum rounds once. https://github.com/ggml-org/ggml (`ggml-quants.c`)
//
// Invariants
//   GB1  Every value has the bits that the published reference gives (`gguf.quants.dequantize`).
//   GB2  Levels and scales of `integerBlocks` are the file's own: nothing is rounded.

import { toFloat32, widenTo } from '../dtypes.js'
import { FP4_LEVELS } from '../small-floats.js'
import type { StoredBlocks } from '../stored-tensor.js'
import { GGUF_FORMATS, type GgufFormatName } from './formats.js'

/** Decodes the block at `bytes[at]` to `out[to]` and on. */
type DecodeBlock = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void
type Blocked = Exclude<GgufFormatName, 'F32' | 'F16' | 'BF16'>

/** Whole blocks as float32, written to `out`. */
export function decodeBlocks(
  format: GgufFormatName,
  bytes: Uint8Array<ArrayBuffer>,
  out: Float32Array = new Float32Array((bytes.length / GGUF_FORMATS[format].bytes) * GGUF_FORMATS[format].values),
): Float32Array {
  if (format === 'F32' || format === 'F16' || format === 'BF16') {
    widenTo(out, bytes, format, format)
    return out
  }
  const { values, bytes: blockBytes } = GGUF_FORMATS[format]
  const numBlocks = bytes.length / blockBytes
  const decode = DECODERS[format]
  for (let block = 0; block < numBlocks; block++) decode(bytes, block * blockBytes, out, block * values)
  return out
}

/** Formats whose values are integers of at most eight bits times a scale for 32. */
export const isIntegerFormat = (format: GgufFormatName): format is 'Q8_0' | 'Q4_0' | 'MXFP4' =>
  format === 'Q8_0' || format === 'Q4_0' || format === 'MXFP4'

/** Whole blocks as levels from zero up, in order, and scales. */
export function integerBlocks(format: 'Q8_0' | 'Q4_0' | 'MXFP4', bytes: Uint8Array): StoredBlocks {
  if (format === 'MXFP4') return doubledBlocks(bytes)
  const { bytes: blockBytes } = GGUF_FORMATS[format]
  const numBlocks = bytes.length / blockBytes
  const levelBytes = blockBytes - 2
  const data = new Uint8Array(numBlocks * levelBytes)
  const scales = new Float32Array(numBlocks)
  for (let block = 0; block < numBlocks; block++) {
    const at = block * blockBytes
    scales[block] = halfAt(bytes, at)
    if (format === 'Q8_0') for (let i = 0; i < levelBytes; i++) data[block * levelBytes + i] = bytes[at + 2 + i]! ^ 0x80
    else {
      for (let i = 0; i < 8; i++) {
        const [even, odd] = [bytes[at + 2 + 2 * i]!, bytes[at + 3 + 2 * i]!]
        data[block * levelBytes + i] = (even & 15) | ((odd & 15) << 4)
        data[block * levelBytes + 8 + i] = (even >> 4) | (odd & 0xf0)
      }
    }
  }
  return { bits: format === 'Q8_0' ? 8 : 4, data, scales }
}

/** MXFP4: twice the values are whole numbers, half the scale is still a power of two. */
function doubledBlocks(bytes: Uint8Array): StoredBlocks {
  const { values, bytes: blockBytes } = GGUF_FORMATS.MXFP4
  const numBlocks = bytes.length / blockBytes
  const data = new Uint8Array(numBlocks * values)
  const scales = new Float32Array(numBlocks)
  for (let block = 0; block < numBlocks; block++) {
    const at = block * blockBytes
    scales[block] = HALF_SCALES[bytes[at]!]!
    for (let i = 0; i < 16; i++) {
      const byte = bytes[at + 1 + i]!
      data[block * values + i] = FP4_LEVELS[byte & 15]!
      data[block * values + 16 + i] = FP4_LEVELS[byte >> 4]!
    }
  }
  return { bits: 8, data, scales }
}

/** Values of all float16 numbers, once they are asked for. */
let halves: Float32Array | undefined
const makeHalves = (): Float32Array =>
  toFloat32(new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, half) => half).buffer), 'F16', 'halves')
const halfAt = (bytes: Uint8Array, at: number): number => (halves ??= makeHalves())[bytes[at]! | (bytes[at + 1]! << 8)]!

/** Scales of all exponent bytes, half of them: the values are doubled. */
const HALF_SCALES = Float32Array.from({ length: 256 }, (_, exponent) => 2 ** (exponent - 128))

const DECODERS: Readonly<Record<Blocked, DecodeBlock>> = {
  Q8_0: (bytes, at, out, to) => {
    const d = halfAt(bytes, at)
    for (let i = 0; i < 32; i++) out[to + i] = d * ((bytes[at + 2 + i]! << 24) >> 24)
  },
  Q4_0: (bytes, at, out, to) => {
    const d = halfAt(bytes, at)
    nibbles(bytes, at + 2, (i, level) => (out[to + i] = d * (level - 8)))
  },
  Q4_1: (bytes, at, out, to) => {
    const [d, m] = [halfAt(bytes, at), halfAt(bytes, at + 2)]
    nibbles(bytes, at + 4, (i, level) => (out[to + i] = d * level + m))
  },
  Q5_0: (bytes, at, out, to) => {
    const d = halfAt(bytes, at)
    nibbles(bytes, at + 6, (i, low) => (out[to + i] = d * ((low | (bitAt(bytes, at + 2, i) << 4)) - 16)))
  },
  Q5_1: (bytes, at, out, to) => {
    const [d, m] = [halfAt(bytes, at), halfAt(bytes, at + 2)]
    nibbles(bytes, at + 8, (i, low) => (out[to + i] = d * (low | (bitAt(bytes, at + 4, i) << 4)) + m))
  },
  Q4_K: (bytes, at, out, to) => {
    subBlocks(bytes, at, (sub, scale, min) => {
      const shift = sub & 1 ? 4 : 0
      const from = at + 16 + (sub >> 1) * 32
      for (let i = 0; i < 32; i++) out[to + sub * 32 + i] = scale * ((bytes[from + i]! >> shift) & 15) - min
    })
  },
  Q5_K: (bytes, at, out, to) => {
    subBlocks(bytes, at, (sub, scale, min) => {
      const shift = sub & 1 ? 4 : 0
      const from = at + 48 + (sub >> 1) * 32
      for (let i = 0; i < 32; i++) {
        const high = (bytes[at + 16 + i]! >> sub) & 1
        out[to + sub * 32 + i] = scale * (((bytes[from + i]! >> shift) & 15) | (high << 4)) - min
      }
    })
  },
  Q6_K: (bytes, at, out, to) => {
    const d = halfAt(bytes, at + 208)
    for (let i = 0; i < 256; i++) {
      const [half, quarter, place] = [i >> 7, (i >> 5) & 3, i & 31] // of 128, of 32 values
      const low = (bytes[at + half * 64 + (quarter & 1) * 32 + place]! >> (quarter & 2 ? 4 : 0)) & 15
      const high = (bytes[at + 128 + half * 32 + place]! >> (2 * quarter)) & 3
      const scale = d * ((bytes[at + 192 + (i >> 4)]! << 24) >> 24)
      out[to + i] = scale * ((low | (high << 4)) - 32)
    }
  },
  MXFP4: (bytes, at, out, to) => {
    const half = HALF_SCALES[bytes[at]!]!
    nibbles(bytes, at + 1, (i, level) => (out[to + i] = half * (FP4_LEVELS[level]! - 128)))
  },
}

/** The low halves of 16 bytes are the values 0 … 15, the high ones 16 … 31. */
function nibbles(bytes: Uint8Array, at: number, each: (i: number, level: number) => void): void {
  for (let i = 0; i < 16; i++) each(i, bytes[at + i]! & 15)
  for (let i = 0; i < 16; i++) each(i + 16, bytes[at + i]! >> 4)
}

const bitAt = (bytes: Uint8Array, at: number, i: number): number => (bytes[at + (i >> 3)]! >> (i & 7)) & 1

/**
 * The eight groups of 32 of a Q4_K or Q5_K block with their scale and minimum: d and dmin, then 6-bit factors of both in
 * 12 bytes; those of groups 4 … 7 have their upper two bits beside the factors of groups 0 … 3.
 */
function subBlocks(bytes: Uint8Array, at: number, each: (sub: number, scale: number, min: number) => void): void {
  const [d, dmin] = [halfAt(bytes, at), halfAt(bytes, at + 2)]
  const packed = (i: number): number => bytes[at + 4 + i]!
  for (let sub = 0; sub < 8; sub++) {
    const low = sub < 4
    const scale = low ? packed(sub) & 63 : (packed(sub + 4) & 15) | ((packed(sub - 4) >> 6) << 4)
    const min = low ? packed(sub + 4) & 63 : (packed(sub + 4) >> 4) | ((packed(sub) >> 6) << 4)
    each(sub, d * scale, dmin * min)
  }
}
