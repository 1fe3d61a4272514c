import assert from 'node:assert/strict'
import { createManualClock } from '../../../lib/actor/clock.js'
import { readF32 } from '../../../lib/wire/tensor.js'
import { createStepTimes } from '../../../services/attention/step-times.js'

describe('createStepTimes', () => {
  const timed = () => {
    const clock = createManualClock(1_000)
    const times = createStepTimes(clock, 2)
    /** Attention for 3 ms, experts for 5 ms, of which a worker computes `computeMs`. */
    const layer = (index: number, computeMs: number): void => {
      const startMs = times.nowMs()
      clock.advance(3)
      times.attention(index, startMs)
      const askedMs = times.nowMs()
      clock.advance(5)
      times.experts(index, askedMs, computeMs)
    }
    return { clock, times, layer }
  }

  it('splits a step into attention, wait for experts, their compute and the head, which do not overlap (T1)', () => {
    const { clock, times, layer } = timed()
    clock.advance(2) // sequences are opened
    const startMs = times.nowMs()
    layer(0, 4)
    clock.advance(7) // others are let in
    layer(1, 1)
    times.layersDone(times.nowMs() - startMs, 7)
    clock.advance(11)
    assert.deepEqual(times.totals(), {
      computeMs: 36,
      attentionMs: 6,
      expertWaitMs: 10,
      expertComputeMs: 5,
      headMs: 11,
    })
    assert.deepEqual([...readF32(times.perLayer(), 'times')], [2, 3, 5, 4, 17, 3, 5, 1])
  })

  it('tells of the slower micro-batch of a layer, and of a wait only where attention did not work meanwhile (T2)', () => {
    const { clock, times } = timed()
    clock.advance(1)
    times.attention(0, 0)
    clock.advance(2) // the other's attention, while the first one's experts compute
    times.attention(0, 1)
    times.experts(0, 1, 2)
    clock.advance(4)
    times.experts(0, 3, 3)
    times.layersDone(times.nowMs(), 0)
    const { attentionMs, expertWaitMs } = times.totals()
    assert.deepEqual([attentionMs, expertWaitMs], [3, 4])
    assert.deepEqual([...readF32(times.perLayer(), 'times').subarray(0, 4)], [0, 2, 4, 3])
  })

  it('has no head where the layers did not run', () => {
    const { clock, times } = timed()
    clock.advance(2)
    assert.deepEqual([times.totals().headMs, times.totals().expertWaitMs], [0, 0])
  })
})
