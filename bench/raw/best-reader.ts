// This machine's read bandwidth is that of the fastest reader known here: plain readers of memory.ts, or the compute
// engine's one-row product over a weight that no cache holds.

import type { Bandwidth } from './memory.js'
import type { ProductSpeed } from './products.js'

const LEAST_BYTES = 64e6 // of weights, where the caches are small or unknown

export interface BestReader {
  readonly reader: string
  readonly threads: number
  readonly gigabytesPerSecond: number // median
}

/** The fastest at this number of threads; throws where none was measured with it. */
export function bestReader(
  memory: readonly Bandwidth[],
  products: readonly ProductSpeed[],
  { threads, cacheBytes }: { readonly threads: number; readonly cacheBytes: number },
): BestReader {
  const plain = memory.map((m) => ({ ...m, gigabytesPerSecond: m.gigabytesPerSecond.median }))
  const ofEngine = products
    .filter(({ rows, weightBytes }) => rows === 1 && weightBytes > Math.max(LEAST_BYTES, cacheBytes))
    .map((p) => {
      const reader = `one-row ${p.format} product`
      return { reader, threads: p.threads, gigabytesPerSecond: p.weightGigabytesPerSecond.median }
    })
  const measured = [...plain, ...ofEngine].filter((candidate) => candidate.threads === threads)
  if (measured.length === 0) throw new Error(`read bandwidth: want a reader with ${threads} threads, found none`)
  const { reader, gigabytesPerSecond } = measured.reduce((best, next) =>
    next.gigabytesPerSecond > best.gigabytesPerSecond ? next : best,
  )
  return { reader, threads, gigabytesPerSecond }
}
