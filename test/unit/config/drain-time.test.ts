// The time to leave is enough to wait and to close.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { DRAIN_WAIT_MS, drainWaitMs } from '../../../lib/config/drain-time.js'

describe('the time to leave', () => {
  it('is 25 s of waiting and 5 s of closing where nobody says otherwise', () => {
    assert.equal(DRAIN_WAIT_MS, 25_000)
  })

  it('leaves some for closing, at most 5 s, however short or long it is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 86_400 }), (seconds) => {
        const closingMs = seconds * 1000 - drainWaitMs(seconds)
        assert.ok(closingMs > 0 && closingMs <= 5_000 && closingMs >= Math.min(5_000, seconds * 150))
      }),
    )
  })
})
