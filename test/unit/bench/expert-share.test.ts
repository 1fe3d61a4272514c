// What the expert layer is measured by: bench/raw/expert-share.ts, and how large memory must be to count as such.

import assert from 'node:assert/strict'
import { parseCacheSize } from '../../../bench/raw/caches.js'
import { expertShare, mlasPeak } from '../../../bench/raw/expert-share.js'

const summary = (value: number) => ({ median: value, min: value, max: value })

const speed = (rows: number, threads: number, gigaflops: number) => ({
  format: 'int8' as const,
  rows,
  threads,
  weightBytes: 6e8,
  gigaflops: summary(gigaflops),
  weightGigabytesPerSecond: summary(12),
})

describe('expertShare', () => {
  const products = [speed(64, 2, 80), speed(512, 2, 100), speed(512, 1, 300)]
  const reader = { gigabytesPerSecond: 16 }

  it('is of the memory’s reads at one row', () =>
    assert.deepEqual(expertShare(speed(1, 2, 5), reader, products), { of: 'measured memory bandwidth', share: 0.75 }))

  it('is of MLAS’ fastest product with as many threads at many rows', () =>
    assert.deepEqual(expertShare(speed(64, 2, 150), reader, products), { of: 'MLAS peak', share: 1.5 }))

  it('says where no product was measured with that many threads', () =>
    assert.throws(() => mlasPeak(products, 3), /want a product with 3 threads/))
})

describe('parseCacheSize', () => {
  it('reads the units of /sys', () =>
    assert.deepEqual(['48K', '300M\n', '512', 'none'].map(parseCacheSize), [49_152, 314_572_800, 512, 0]))
})
