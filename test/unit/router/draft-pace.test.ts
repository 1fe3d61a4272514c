// The draft pace: who never gains from drafts is tried ever less, who does is asked for at every step.

import assert from 'node:assert/strict'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import { createDraftPace, UNPACED_DRAFTS, type DraftPace } from '../../../services/router/draft-pace.js'
import { createTestSequence } from './sequences.js'

const STEP_MS = 4
const USELESS = { gained: 0, cost: 1, costMs: 4 }
const USEFUL = { gained: 3, cost: 0.2, costMs: 4 }
type Draft = typeof USELESS
type Sequence = ReturnType<typeof createTestSequence>

const newSequence = (maxTokens?: number): Sequence => createTestSequence('s', [1, 2], maxTokens)

/** Of the next `numSteps` steps, those in which the sequence is asked for; each draft brings the same. */
function stepsAsked(pace: DraftPace, sequence: Sequence, numSteps: number, draft: Draft): number[] {
  const steps: number[] = []
  for (let step = 0; step < numSteps; step++) {
    pace.turn(STEP_MS, [sequence])
    const isAsked = pace.wants(sequence)
    pace.wantsNext(sequence)
    if (!isAsked) continue
    steps.push(step)
    pace.learn(sequence, draft)
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
  it('spends a small share of the time on what does not pay, and goes on trying (P1)', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    countAsked(pace, sequence, 1000, USELESS)
    const numAsked = countAsked(pace, sequence, 5000, USELESS)
    assert.ok(numAsked >= 10, `${numAsked} tries`)
    assert.ok(numAsked * USELESS.costMs <= 0.03 * 5000 * STEP_MS, `${numAsked} tries in 5000 steps`)
  })

  it('asks at every step while drafts pay', () => {
    assert.equal(countAsked(createDraftPace(), newSequence(), 200, USEFUL), 200)
  })

  it('asks at every step again once drafts pay again', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    countAsked(pace, sequence, 400, USELESS)
    countAsked(pace, sequence, 30_000, USEFUL)
    assert.equal(countAsked(pace, sequence, 50, USEFUL), 50)
  })

  it('expects of a new sequence what is usual', () => {
    assert.equal(countAsked(createDraftPace(), newSequence(), 40, USEFUL), 40)
    assert.ok(countAsked(disappointedPace(), newSequence(), 40, USELESS) <= 6)
  })

  it('expects of a hot sequence what hot ones gained, of a greedy one what greedy ones did', () => {
    const at = (temperature: number): Sequence => ({
      ...newSequence(),
      sampling: { ...NEUTRAL_SAMPLING, temperature },
    })
    const pace = createDraftPace()
    for (let i = 0; i < 20; i++) {
      countAsked(pace, at(0), 300, USEFUL)
      countAsked(pace, at(1.5), 300, USELESS)
    }
    assert.equal(countAsked(pace, at(0), 40, USEFUL), 40)
    assert.ok(countAsked(pace, at(1.5), 40, USELESS) <= 6)
    assert.ok(countAsked(pace, at(100), 40, USELESS) <= 6)
  })

  it('spends no more on many sequences (P1)', () => {
    const pace = disappointedPace()
    const sequences = Array.from({ length: 64 }, () => newSequence())
    let numAsked = 0
    for (let step = 0; step < 2000; step++) {
      pace.turn(STEP_MS, sequences)
      const asked = sequences.filter((sequence) => pace.wants(sequence))
      for (const sequence of sequences) pace.wantsNext(sequence)
      for (const sequence of asked) pace.learn(sequence, USELESS)
      numAsked += asked.length
    }
    assert.ok(numAsked * USELESS.costMs <= 0.03 * 2000 * STEP_MS, `${numAsked} tries in 2000 steps`)
  })

  it('tries no sooner after steps of those who want no drafts (P1)', () => {
    const pace = disappointedPace()
    const sequence = newSequence()
    while (countAsked(pace, sequence, 1, USELESS) === 0);
    while (countAsked(pace, sequence, 1, USELESS) > 0);
    for (let step = 0; step < 10_000; step++) pace.turn(STEP_MS, [{ ...sequence, drafts: false }])
    assert.equal(countAsked(pace, sequence, 100, USELESS), 0)
  })

  it('asks for whom it said it would one step before (P2)', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    for (let step = 0; step < 300; step++) {
      const isAnnounced = pace.wantsNext(sequence)
      pace.turn(STEP_MS, [sequence])
      assert.equal(pace.wants(sequence), isAnnounced)
      if (isAnnounced) pace.learn(sequence, USELESS)
    }
  })

  for (const [what, pace] of [
    ['paced', createDraftPace()],
    ['unpaced', UNPACED_DRAFTS],
  ] as const) {
    it(`${what}, asks for nothing where no second token may come, or no drafts are wanted`, () => {
      const all = [newSequence(), newSequence(1), { ...newSequence(), drafts: false }]
      pace.turn(STEP_MS, all)
      assert.deepEqual(
        all.map((one) => pace.wants(one)),
        [true, false, false],
      )
    })
  }
})
