// With how many rows at least a device's kernel gives a row the same bits whatever the rows beside it, and what bits those
// are.

import { createHash } from 'node:crypto'
import { probeValues, sameBits } from '../probe-values.js'

/** What was found out about a kernel. */
export interface ProbedKernel {
  readonly leastRows: number // Infinity: a row's bits depend on its company with every number tried
  readonly digest: string // of its outputs
}

/** Computes rows of x: [rows, width] → [rows, outputs]. */
export type RowsOf = (x: Float32Array, rows: number) => Float32Array

const ROWS = 128
const SUBSETS: readonly (readonly [first: number, count: number])[] = [
  [0, 1],
  [9, 1],
  [0, 2],
  [5, 3],
  [100, 8],
  [0, 17],
  [33, 33],
  [50, 70],
]
const LEAST_ROWS = [1, 2, 4, 8, 16, 32]

/** Tries rows alone and in company. */
export function probeRows(width: number, compute: RowsOf): ProbedKernel {
  const x = probeValues(ROWS * width, 7, 4)
  const all = compute(x, ROWS)
  const outputs = all.length / ROWS
  const isExactWith = (least: number): boolean =>
    SUBSETS.every(([first, count]) => {
      const padded = new Float32Array(Math.max(count, least) * width)
      padded.set(x.subarray(first * width, (first + count) * width))
      const y = compute(padded, padded.length / width).subarray(0, count * outputs)
      return sameBits(y, all.subarray(first * outputs, (first + count) * outputs))
    })
  return { leastRows: LEAST_ROWS.find(isExactWith) ?? Infinity, digest: digestOf([all]) }
}

export function digestOf(parts: readonly (Float32Array | string)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    hash.update(typeof part === 'string' ? part : new Uint8Array(part.buffer, part.byteOffset, part.byteLength))
  }
  return hash.digest('hex')
}
