// From when on an expert worker's answer is late: by what it usually takes.

import assert from 'node:assert/strict'
import { createReplyTimes } from '../../../services/attention/reply-times.js'
import { createRandom } from '../../helpers/random.js'

describe('createReplyTimes', () => {
  it('waits long before anything is known', () => {
    assert.equal(createReplyTimes().lateMs(1), 300)
  })

  it('learns quick answers, down to what a loaded machine needs', () => {
    const times = createReplyTimes()
    for (let i = 0; i < 50; i++) times.observe(8, 2)
    assert.equal(times.lateMs(8), 50)
  })

  it('expects more of more rows before it has seen so many, and no less of fewer', () => {
    const times = createReplyTimes()
    for (let i = 0; i < 200; i++) times.observe(8, 20)
    assert.ok(times.lateMs(64) > 150, `${times.lateMs(64)} ms`)
    assert.ok(times.lateMs(1) <= 50, `${times.lateMs(1)} ms`)
    const large = createReplyTimes()
    for (let i = 0; i < 200; i++) large.observe(64, 100)
    assert.ok(large.lateMs(1) >= 100, `${large.lateMs(1)} ms`)
  })

  it('leaves slow but steady workers their time', () => {
    const times = createReplyTimes()
    for (let i = 0; i < 100; i++) times.observe(256, 900)
    assert.ok(times.lateMs(256) > 900, `${times.lateMs(256)} ms`)
  })

  it('does not let one straggler hide the next', () => {
    const times = createReplyTimes()
    for (let i = 0; i < 50; i++) times.observe(8, 2)
    times.observe(8, 30_000)
    assert.ok(times.lateMs(8) <= 300, `${times.lateMs(8)} ms`)
    for (let i = 0; i < 20; i++) times.observe(8, 2)
    assert.equal(times.lateMs(8), 50)
  })

  it('misses an answer long after it is late, and a first one after longer still', () => {
    const times = createReplyTimes()
    assert.equal(times.overdueMs(1), 10_000)
    for (let i = 0; i < 50; i++) times.observe(8, 2)
    assert.equal(times.overdueMs(8), 1_000)
    for (let i = 0; i < 50; i++) times.observe(8, 5_000)
    assert.ok(times.overdueMs(8) > 10_000, `${times.overdueMs(8)} ms`)
  })

  it('takes few of the answers that scatter as they did before for late', () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    const random = createRandom(seed)
    const times = createReplyTimes()
    const next = (): number => 20 + 60 * random()
    for (let i = 0; i < 200; i++) times.observe(8, next())
    let late = 0
    for (let i = 0; i < 1000; i++) {
      const tookMs = next()
      if (tookMs > times.lateMs(8)) late += 1
      times.observe(8, tookMs)
    }
    assert.ok(late < 50, `${late} of 1000, seed ${seed}`)
  })
})
