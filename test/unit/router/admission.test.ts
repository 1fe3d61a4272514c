// What is refused at the door, with which reason, and when it may come again.

import assert from 'node:assert/strict'
import { createManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import { createAdmission, type Applicant } from '../../../services/router/admission.js'
import { createDrainRate } from '../../../services/router/drain-rate.js'
import type { Priority } from '../../../services/router/engine.js'

const applicant: Applicant = { numSequences: 1, tenant: 'a', priority: 'normal', deadlineMs: undefined }

function start(maxWaiting: number, msPerAdmission?: number) {
  const waiting: { tenant: string; priority: Priority }[] = []
  const admission = createAdmission({
    maxWaiting,
    clock: createManualClock(1_000_000),
    backlog: {
      waiting: () => waiting,
      msToAdmit: (count) => (msPerAdmission === undefined ? undefined : count * msPerAdmission),
    },
  })
  const ask = (fields: Partial<Applicant> = {}): ClusterError | undefined => {
    const wanted = { ...applicant, ...fields }
    try {
      admission.check(wanted)
    } catch (error) {
      return ClusterError.from(error)
    }
    for (let i = 0; i < wanted.numSequences; i++) waiting.push(wanted)
    return undefined
  }
  const flood = (tenant: string): number => {
    let numAccepted = 0
    while (numAccepted < 1000 && ask({ tenant }) === undefined) numAccepted += 1
    return numAccepted
  }
  return { ask, flood, waiting }
}

describe('admission', () => {
  it('bounds what waits, exactly, for one tenant (A1)', () => {
    const { ask, flood } = start(10)
    assert.equal(flood('a'), 10)
    const refusal = ask()
    assert.deepEqual([refusal?.code, refusal?.details.reason], ['resource_exhausted', 'QUEUE_FULL'])
  })

  it('counts the sequences of a request, not requests', () => {
    const { ask } = start(10)
    assert.equal(ask({ numSequences: 8 }), undefined)
    assert.equal(ask({ numSequences: 3 })?.details.reason, 'QUEUE_FULL')
    assert.equal(ask({ numSequences: 2 }), undefined)
  })

  it('lets others in up to their equal part while one tenant fills the queue, and ends at twice the bound (A1)', () => {
    const { flood, waiting } = start(12)
    assert.deepEqual([flood('a'), flood('b'), flood('c'), flood('a')], [12, 6, 4, 0])
    for (let i = 0; i < 50; i++) flood(`t${i}`)
    assert.ok(waiting.length <= 24, `${waiting.length} wait`)
  })

  it('says when there will be room, by the rate at which the queue empties', () => {
    const slow = start(10, 400)
    slow.flood('a')
    assert.equal(slow.ask({ numSequences: 5 })?.details.retryAfterMs, '2000')
    assert.equal(slow.ask()?.details.retryAfterMs, '400')
    const unknown = start(1)
    unknown.flood('a')
    assert.equal(unknown.ask()?.details.retryAfterMs, '250')
    const stalled = start(10, 100_000)
    stalled.flood('a')
    assert.equal(stalled.ask()?.details.retryAfterMs, '30000')
  })

  it('counts what was let in and is still being journaled', () => {
    const admission = createAdmission({
      maxWaiting: 3,
      clock: createManualClock(),
      backlog: { waiting: () => [], msToAdmit: () => undefined },
    })
    let hasBegun = false
    admission.note({ ...applicant, numSequences: 2 }, () => hasBegun)
    admission.check(applicant)
    assert.throws(() => admission.check({ ...applicant, numSequences: 2 }), ClusterError)
    hasBegun = true
    admission.check({ ...applicant, numSequences: 2 })
  })

  it('refuses what cannot begin before its deadline at half the predicted wait (A2)', () => {
    const { ask, flood } = start(100, 100)
    flood('a')
    const { ask: askQuiet } = start(100, 100)
    assert.equal(askQuiet({ deadlineMs: 1_000_001 }), undefined)
    const refusal = ask({ tenant: 'a', numSequences: 0, deadlineMs: 1_004_900 }) // 100 ahead: 10 s, half of it 5 s
    assert.equal(refusal?.details.reason, 'DEADLINE_UNREACHABLE')
    assert.equal(ask({ tenant: 'a', numSequences: 0, deadlineMs: 1_005_100 }), undefined)
  })

  it('predicts by class and by fair share: another tenant waits for one of the flood, a high one for none', () => {
    const { ask, flood } = start(100, 1000)
    flood('a')
    assert.equal(ask({ tenant: 'b', deadlineMs: 1_000_600 }), undefined)
    assert.equal(ask({ tenant: 'c', priority: 'high', deadlineMs: 1_000_001 }), undefined)
    assert.equal(ask({ tenant: 'd', priority: 'low', deadlineMs: 1_040_000 })?.details.reason, 'DEADLINE_UNREACHABLE')
  })

  it('where the rate is not known, no deadline is judged', () => {
    const { ask, flood } = start(100)
    flood('a')
    assert.equal(ask({ tenant: 'b', deadlineMs: 1_000_001 }), undefined)
  })
})

describe('drain rate', () => {
  it('is the mean time between admissions that left somebody waiting', () => {
    const rate = createDrainRate()
    for (let i = 0; i <= 20; i++) rate.admitted(5, i * 100)
    assert.equal(rate.msFor(10, 2000), 1000)
  })

  it('learns nothing while nobody waits', () => {
    const rate = createDrainRate()
    for (let i = 0; i <= 100; i++) rate.admitted(0, i * 1000)
    assert.equal(rate.msFor(1, 100_000), undefined)
  })

  it('sees that nobody is admitted any more', () => {
    const rate = createDrainRate()
    for (let i = 0; i <= 64; i++) rate.admitted(5, i * 100)
    assert.equal(rate.msFor(1, 6400), 100)
    assert.equal(rate.msFor(1, 6400 + 64_000), 1000)
  })
})
