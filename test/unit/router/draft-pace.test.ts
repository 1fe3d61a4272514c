// The draft pace: who never gains from drafts is tried ever less, who does is asked for at every step.

import assert from 'node:assert/strict'
import { createDraftPace, UNPACED_DRAFTS, type DraftPace } from '../../../services/router/draft-pace.js'
import { createTestSequence } from './sequences.js'

const USELESS = { gained: 0, cost: 1 }
const USEFUL = { gained: 3, cost: 0.2 }
type Draft = typeof USELESS
type Sequence = ReturnType<typeof createTestSequence>

const newSequence = (maxTokens?: number): Sequence => createTestSequence('s', [1, 2], maxTokens)

/** Of the next `numSteps` steps, those in which the sequence is asked for; each draft brings the same. */
function stepsAsked(pace: DraftPace, sequence: Sequence, numSteps: number, { gained, cost }: Draft): number[] {
  const steps: number[] = []
  for (let step = 0; step < numSteps; step++) {
    pace.turn()
    const isAsked = pace.wants(sequence)
    pace.wantsNext(sequence)
    if (!isAsked) continue
    steps.push(step)
    pace.learn(sequence, gained, cost)
  }
  return steps
}
const countAsked = (...args: Parameters<typeof stepsAsked>): number => stepsAsked(...args).length

/** A pace that has seen drafts bring nothing for a while. */
function disappointedPace(): DraftPace {
  const pace = createDraftPace()
  for (let i = 0; i < 20; i++) countAsked(pace, newSequence(), 300, USELESS)
  return pace
}

describe('createDraftPace', () => {
  it('asks for a hopeless sequence ever less often, and goes on asking (P1)', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    const [first, second, third] = [200, 200, 2000].map((numSteps) => countAsked(pace, sequence, numSteps, USELESS))
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    assert.ok(first <= 60 && second <= 10, `${first} of the first 200 steps, ${second} of the next`)
    assert.ok(third >= 1 && third <= 2000 / 32, `${third} of 2000`)
  })

  it('asks at every step while drafts pay', () => {
    assert.equal(countAsked(createDraftPace(), newSequence(), 200, USEFUL), 200)
  })

  it('asks at every step again once drafts pay again', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    countAsked(pace, sequence, 500, USELESS)
    countAsked(pace, sequence, 2000, USEFUL)
    assert.equal(countAsked(pace, sequence, 50, USEFUL), 50)
  })

  it('expects of a new sequence what is usual', () => {
    assert.equal(countAsked(createDraftPace(), newSequence(), 40, USEFUL), 40)
    assert.ok(countAsked(disappointedPace(), newSequence(), 40, USELESS) <= 4)
  })

  it('tries few of many sequences in a step where drafts do not pay (P2)', () => {
    const pace = disappointedPace()
    const sequences = Array.from({ length: 64 }, () => newSequence())
    for (let step = 0; step < 100; step++) {
      pace.turn()
      const asked = sequences.filter((sequence) => pace.wants(sequence))
      for (const sequence of sequences) pace.wantsNext(sequence)
      assert.ok(asked.length <= 2, `${asked.length} in step ${step}`)
      for (const sequence of asked) pace.learn(sequence, 0, 1)
    }
  })

  it('asks for whom it said it would one step before (P3)', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    for (let step = 0; step < 300; step++) {
      const isAnnounced = pace.wantsNext(sequence)
      pace.turn()
      assert.equal(pace.wants(sequence), isAnnounced)
      if (isAnnounced) pace.learn(sequence, 0, 1)
    }
  })

  for (const [what, pace] of [
    ['paced', createDraftPace()],
    ['unpaced', UNPACED_DRAFTS],
  ] as const) {
    it(`${what}, asks for nothing where no second token may come, or no drafts are wanted`, () => {
      pace.turn()
      const all = [newSequence(), newSequence(1), { ...newSequence(), drafts: false }]
      assert.deepEqual(
        all.map((one) => pace.wants(one)),
        [true, false, false],
      )
    })
  }
})
