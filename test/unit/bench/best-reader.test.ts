// Which reader counts as the machine's read bandwidth: bench/raw/best-reader.ts.

import assert from 'node:assert/strict'
import { bestReader } from '../../../bench/raw/best-reader.js'

const summary = (value: number) => ({ median: value, min: value, max: value })

describe('bestReader', () => {
  const memory = [
    { reader: 'compare', threads: 1, gigabytesPerSecond: summary(50) },
    { reader: 'float64 loop', threads: 2, gigabytesPerSecond: summary(20) },
    { reader: 'compare', threads: 2, gigabytesPerSecond: summary(30) },
  ] as const
  const product = (rows: number, weightBytes: number) => {
    return {
      format: 'int8',
      rows,
      threads: 2,
      weightBytes,
      gigaflops: summary(1),
      weightGigabytesPerSecond: summary(40),
    } as const
  }

  it('takes the fastest with that number of threads', () =>
    assert.deepEqual(bestReader(memory, [], { threads: 2, cacheBytes: 0 }), {
      reader: 'compare',
      threads: 2,
      gigabytesPerSecond: 30,
    }))

  it('takes a one-row product over a large weight where that is faster', () =>
    assert.equal(
      bestReader(memory, [product(1, 75e6)], { threads: 2, cacheBytes: 32e6 }).reader,
      'one-row int8 product',
    ))

  it('does not take a product that a cache may hold, or that computes more than it reads', () =>
    assert.equal(
      bestReader(memory, [product(1, 40e6), product(64, 75e6)], { threads: 2, cacheBytes: 0 }).reader,
      'compare',
    ))

  it('does not take a product that this processor’s last cache holds', () =>
    assert.equal(bestReader(memory, [product(1, 75e6)], { threads: 2, cacheBytes: 300e6 }).reader, 'compare'))

  it('says where nothing was measured with that number of threads', () =>
    assert.throws(() => bestReader(memory, [], { threads: 3, cacheBytes: 0 }), /want a reader with 3 threads/))
})
