// Rows per expert out of the totals that workers report.

import assert from 'node:assert/strict'
import { createExpertCounts } from '../../../../services/router/console/expert-counts.js'

describe('expert counts', () => {
  it('add up by how much each worker’s totals rise, from its first report on', () => {
    const counts = createExpertCounts()
    counts.note('a', 2, Int32Array.of(100, 7))
    counts.note('b', 2, Int32Array.of(50, 50))
    counts.note('a', 2, Int32Array.of(103, 7))
    counts.note('b', 2, Int32Array.of(50, 54))
    assert.deepEqual([...counts.sums], [3, 4])
  })

  it('go on over the end of the numbers, and over a worker that starts anew', () => {
    const counts = createExpertCounts()
    counts.note('a', 1, Int32Array.of(2 ** 31 - 1))
    counts.note('a', 1, Int32Array.of(-(2 ** 31))) // one more
    assert.deepEqual([...counts.sums], [1])
    counts.note('a', 1, Int32Array.of(1_000))
    counts.note('a', 1, Int32Array.of(3)) // a new process
    const { version } = counts
    counts.note('a', 1, Int32Array.of(8))
    assert.equal(counts.version, version + 1)
  })
})
