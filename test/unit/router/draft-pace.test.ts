// P1 and P2 of the draft pace: who never gains from drafts is asked for ever less, who does at every step.

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
    if (!pace.wants(sequence)) continue
    steps.push(step)
    pace.learn(sequence, gained, cost)
  }
  return steps
}
const countAsked = (...args: Parameters<typeof stepsAsked>): number => stepsAsked(...args).length

describe('createDraftPace', () => {
  it('asks for a hopeless sequence about as often as its steps can be doubled (P1)', () => {
    for (const numSteps of [16, 64, 256]) {
      const numAsked = countAsked(createDraftPace(), newSequence(), numSteps, USELESS)
      assert.ok(numAsked <= 2 * Math.log2(numSteps), `${numAsked} times in ${numSteps} steps`)
    }
  })

  it('goes on asking now and then, however long it was of no use', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    countAsked(pace, sequence, 2000, USELESS)
    assert.ok(countAsked(pace, sequence, 100, USELESS) >= 1)
  })

  it('asks at every step while drafts pay', () => {
    assert.equal(countAsked(createDraftPace(), newSequence(), 200, USEFUL), 200)
  })

  it('asks at every step again after a few drafts that pay', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    countAsked(pace, sequence, 500, USELESS)
    for (let numAsked = 0; numAsked < 3;) numAsked += countAsked(pace, sequence, 1, USEFUL)
    assert.equal(countAsked(pace, sequence, 50, USEFUL), 50)
  })

  it('expects of a new sequence what is usual', () => {
    const askedAfter = (drafts: Draft): number[] => {
      const pace = createDraftPace()
      countAsked(pace, newSequence(), 2000, drafts)
      return stepsAsked(pace, newSequence(), 40, USELESS)
    }
    assert.deepEqual(askedAfter(USEFUL).slice(0, 3), [0, 1, 2], 'where drafts pay, the first few do not judge it')
    assert.ok(askedAfter(USELESS).length < askedAfter(USEFUL).length)
  })

  it('asks for those with the same pause in the same steps (P2)', () => {
    const pace = createDraftPace()
    const sequences = [newSequence(), newSequence(), newSequence()]
    for (const [i, sequence] of sequences.entries()) countAsked(pace, sequence, 500 + 7 * i, USELESS)
    const asked = sequences.map((): number[] => [])
    for (let step = 0; step < 500; step++) {
      pace.turn()
      for (const [i, sequence] of sequences.entries()) if (pace.wants(sequence)) asked[i]?.push(step)
    }
    assert.ok(asked[0] !== undefined && asked[0].length > 0)
    assert.deepEqual(asked, [asked[0], asked[0], asked[0]])
  })

  it('says one step before whether it will ask', () => {
    const pace = createDraftPace()
    const sequence = newSequence()
    for (let step = 0; step < 300; step++) {
      const wantsNext = pace.wantsNext(sequence)
      pace.turn()
      assert.equal(pace.wants(sequence), wantsNext)
      if (wantsNext && step % 2 === 0) pace.learn(sequence, 0, 1)
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
