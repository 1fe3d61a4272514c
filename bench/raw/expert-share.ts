// How near the expert layer comes to what this machine gives: at one row to the memory's reads, at many rows to the best
// of MLAS (ONNX Runtime's products) on one large product.

import type { BestReader } from './best-reader.js'
import type { ExpertSpeed } from './experts.js'
import type { ProductSpeed } from './products.js'

export interface ExpertShare {
  readonly of: string // what the share is of
  readonly share: number
}

/** GFLOP/s of the fastest product with that many threads, whatever its format and rows; throws where there was none. */
export function mlasPeak(products: readonly ProductSpeed[], threads: number): number {
  const speeds = products.filter((product) => product.threads === threads).map(({ gigaflops }) => gigaflops.median)
  if (speeds.length === 0) throw new Error(`MLAS peak: want a product with ${threads} threads, found none`)
  return Math.max(...speeds)
}

export function expertShare(
  speed: ExpertSpeed,
  reader: Pick<BestReader, 'gigabytesPerSecond'>,
  products: readonly ProductSpeed[],
): ExpertShare {
  return speed.rows === 1
    ? {
        of: 'measured memory bandwidth',
        share: speed.weightGigabytesPerSecond.median / reader.gigabytesPerSecond,
      }
    : { of: 'MLAS peak', share: speed.gigaflops.median / mlasPeak(products, speed.threads) }
}
