// The draft pace: who never gains from drafts is tried ever less, who does is asked for at every step.

import assert from 'node:assert/strict'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import type { DraftPrice } from '../../../services/router/draft-account.js'
import { createDraftPace, UNPACED_DRAFTS, type DraftPace } from '../../../services/router/draft-pace.js'
import { createTestSequence } from './sequences.js'

const STEP_MS = 4
const PRICE = { fixed: 0, each: 0.5, node: 0.1 }
const USELESS = { gained: 0, costMs: 4 }
const USEFUL = { gained: 3, costMs: 4 }
type Draft = typeof USELESS
type Sequence = ReturnType<typeof createTestSequence>

/** A step of these sequences begins. */
const turn = (pace: DraftPace, decoding: readonly Sequence[], price: DraftPrice, maxCopied = 0): void =>
  pace.turn(STEP_MS, { decoding, price, maxCopied })

const newSequence = (maxTokens?: number): Sequence => createTestSequence('s', [1, 2], maxTokens)

/** Of the next `numSteps` steps, those in which the sequence is asked for; each draft brings the same. */
function stepsAsked(pace: DraftPace, sequence: Sequence, numSteps: number, draft: Draft): number[] {
  const steps: number[] = []
  for (let step = 0; step < numSteps; step++) {
    turn(pace, [sequence], PRICE)
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
      turn(pace, sequences, PRICE)
      const asked = sequences.filter((sequence) => pace.wants(sequence))
      for (const sequence of sequences) pace.wantsNext(sequence)
      for (const sequence of asked) pace.learn(sequence, USELESS)
      numAsked += asked.length
    }
    assert.ok(numAsked * USELESS.costMs <= 0.03 * 2000 * STEP_MS, `${numAsked} tries in 2000 steps`)
  })

  it('asks among many for those whose text repeats itself', () => {
    const pace = createDraftPace()
    const sequences = Array.from({ length: 16 }, () => newSequence())
    const circling = new Set(sequences.slice(0, 3))
    for (let step = 0; step < 60; step++) {
      turn(pace, sequences, { fixed: 1, each: 3, node: 0.1 })
      const asked = sequences.filter((sequence) => pace.wants(sequence))
      if (step >= 10)
        assert.ok(asked.length === 3 && asked.every((one) => circling.has(one)), `step ${step}: ${asked.length}`)
      for (const sequence of asked) pace.learn(sequence, { gained: circling.has(sequence) ? 10 : 1, costMs: 4 })
      for (const sequence of sequences) sequence.tokens.push(circling.has(sequence) ? step % 3 : 100 + step)
    }
  })

  it('asks where all drafts together pay for asking at all, whatever they cost a while ago', () => {
    const pace = createDraftPace()
    const countAskedAmong = (numSequences: number, price: DraftPrice): number => {
      const sequences = Array.from({ length: numSequences }, () => newSequence())
      turn(pace, sequences, price)
      const asked = sequences.filter((sequence) => pace.wants(sequence))
      for (const sequence of asked) pace.learn(sequence, { gained: 3, costMs: 4 })
      return asked.length
    }
    for (let step = 0; step < 10; step++) countAskedAmong(64, { fixed: 5, each: 1, node: 0.1 })
    assert.equal(countAskedAmong(64, { fixed: 5, each: 1, node: 0.1 }), 64)
    assert.equal(countAskedAmong(64, { fixed: 5, each: 4, node: 0.1 }), 0)
    assert.equal(countAskedAmong(2, { fixed: 20, each: 1, node: 0.1 }), 0)
    assert.equal(countAskedAmong(1, { fixed: 1, each: 1, node: 0.1 }), 1)
  })

  it('copies from the text itself among several where that brings as much as asking, and does not ask', () => {
    const pace = createDraftPace()
    const [sequence, other] = [newSequence(), newSequence()]
    const price = { fixed: 1, each: 1, node: 0.1 }
    for (let i = 0; i < 30; i++) sequence.tokens.push(i % 3)
    turn(pace, [sequence, other], price)
    for (let i = 0; i < 250; i++) pace.learn(sequence, { gained: 3, costMs: 4 })
    turn(pace, [sequence, other], price, 16)
    assert.equal(pace.wants(sequence), false)
    const copy = pace.copyOf(sequence)
    assert.deepEqual(copy?.tokens.slice(0, 4), [0, 1, 2, 0])
    assert.ok(copy !== undefined && copy.tokens.length <= 16)
    turn(pace, [sequence, other], price)
    assert.equal(pace.copyOf(sequence), undefined, 'where no drafter copies, nor does the router')
    assert.ok(pace.wants(sequence))
    sequence.tokens.push(77)
    turn(pace, [sequence, other], price, 16)
    assert.equal(pace.copyOf(sequence), undefined)
  })

  it('tries no sooner after steps of those who want no drafts (P1)', () => {
    const pace = disappointedPace()
    const sequence = newSequence()
    while (countAsked(pace, sequence, 1, USELESS) === 0);
    while (countAsked(pace, sequence, 1, USELESS) > 0);
    for (let step = 0; step < 10_000; step++) turn(pace, [{ ...sequence, drafts: false }], PRICE)
    assert.equal(countAsked(pace, sequence, 100, USELESS), 0)
  })

  it('asks for whom it said it would one step before, but where it has just learned better (P2)', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    let numChanges = 0
    for (let step = 0; step < 300; step++) {
      const isAnnounced = pace.wantsNext(sequence)
      turn(pace, [sequence], PRICE)
      if (pace.wants(sequence) && !isAnnounced) numChanges += 1
      if (isAnnounced) pace.learn(sequence, USELESS)
    }
    assert.ok(numChanges <= 1, `${numChanges} times`)
  })

  it('asks at once for whose text begins to repeat itself (P2)', () => {
    const pace = disappointedPace()
    const sequence = newSequence()
    while (countAsked(pace, sequence, 1, USELESS) > 0);
    sequence.tokens.push(7, 8, 9, 7, 8, 9, 7, 8, 9)
    turn(pace, [sequence, newSequence()], PRICE)
    assert.ok(pace.wants(sequence))
  })

  for (const [what, pace] of [
    ['paced', createDraftPace()],
    ['unpaced', UNPACED_DRAFTS],
  ] as const) {
    it(`${what}, asks for nothing where no second token may come, or no drafts are wanted`, () => {
      const all = [newSequence(), newSequence(1), { ...newSequence(), drafts: false }]
      turn(pace, all, PRICE)
      assert.deepEqual(
        all.map((one) => pace.wants(one)),
        [true, false, false],
      )
    })
  }
})
