// A process notices that it stood still, and does not take it for others' silence.

import assert from 'node:assert/strict'
import { createSilenceWatch } from '../../../lib/actor/silence.js'
import { createStallDetector } from '../../../lib/actor/stall.js'
import { createManualClock } from '../../../lib/actor/clock.js'

describe('createStallDetector', () => {
  it('reports a timer that fires late, not one that is a little late', () => {
    const clock = createManualClock()
    const reported: number[] = []
    const stalls = createStallDetector(clock, (ms) => reported.push(ms))
    clock.wake(100)
    clock.wake(180)
    clock.wake(3_100)
    clock.wake(100)
    clock.wake(700)
    assert.deepEqual([reported, stalls.load], [[3_000, 600], { stalls: 2, maxStallMs: 3_000 }])
    stalls.stop()
    assert.equal(clock.numTimers, 0)
  })
})

describe('createSilenceWatch', () => {
  it('says since when somebody is silent', () => {
    const silence = createSilenceWatch()
    silence.heard('a', 100)
    assert.deepEqual([silence.silentMs('a', 350), silence.silentMs('never heard', 350)], [250, 0])
  })

  it('nobody grows silent while it does not hear itself (H1)', () => {
    const silence = createSilenceWatch('own')
    silence.heard('own', 0)
    silence.heard('a', 0)
    assert.deepEqual([silence.silentMs('a', 700), silence.silentMs('a', 10_000)], [700, 0])
  })

  it('everybody starts afresh when it hears itself again (H2)', () => {
    const silence = createSilenceWatch('own')
    silence.heard('own', 0)
    silence.heard('a', 0)
    silence.heard('own', 10_000)
    assert.equal(silence.silentMs('a', 10_100), 100)
  })
})
