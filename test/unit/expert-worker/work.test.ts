import assert from 'node:assert/strict'
import { createManualClock } from '../../../lib/actor/clock.js'
import { createExpertWork } from '../../../services/expert-worker/work.js'

describe('expert work', () => {
  it('counts an expert touched as one and each of its rows as a part of that, by shard', () => {
    const work = createExpertWork(2, createManualClock())
    const once = { expert: 0, shard: 0, count: 1 }
    work.touched([once])
    const [one = 0] = work.byShard
    work.touched([{ ...once, count: 3 }])
    assert.ok(one > 1 && one < 2)
    assert.deepEqual(work.byShard, [2 + 4 * (one - 1), 0])
  })

  it('says what share of the last while went into calls, and forgets what was before', () => {
    const clock = createManualClock()
    const work = createExpertWork(1, clock)
    assert.equal(work.busy, 0)
    const runs = (seconds: number, busyMs: number): void => {
      for (let i = 0; i < seconds; i++) {
        clock.advance(1_000)
        work.computed(busyMs)
      }
    }
    runs(40, 500)
    assert.ok(Math.abs(work.busy - 0.5) < 0.05, `${work.busy}`)
    runs(40, 100)
    assert.ok(Math.abs(work.busy - 0.1) < 0.05, `${work.busy}`)
    clock.advance(120_000)
    assert.equal(work.busy, 0)
  })
})
