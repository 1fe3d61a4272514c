// Rows as the CPU's products read them (`q16` on the wire), back in float32: an expert on a device computes from what one
// on the CPU computes from.

import type { ExpertInput } from '../expert-call.js'
import { roundedBytes } from '../placed-linear.js'
import { BLOCK_SIZE } from '../quantise.js'

/** Rows [numRows, hidden] of float32. */
export function floatsOf({ isRounded, numRows, bytes }: ExpertInput, hidden: number): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : Uint8Array.from(bytes)
  const { buffer, byteOffset } = aligned
  if (!isRounded) return new Float32Array(buffer, byteOffset, numRows * hidden)
  const numBlocks = hidden / BLOCK_SIZE
  const rowBytes = roundedBytes(numBlocks)
  const result = new Float32Array(numRows * hidden)
  for (let row = 0; row < numRows; row++) {
    const from = byteOffset + row * rowBytes
    const values = new Int16Array(buffer, from, hidden)
    const scales = new Float32Array(buffer, from + hidden * 2, numBlocks)
    for (let i = 0; i < hidden; i++) result[row * hidden + i] = values[i]! * scales[Math.floor(i / BLOCK_SIZE)]!
  }
  return result
}
