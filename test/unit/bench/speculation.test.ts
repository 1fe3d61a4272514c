// Prompts and figures of the speculation bench: bench/speculation.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { checkEqual, decodeSpeed, stepMs, tokensPerStep, wholeSpeed } from '../../../bench/speculation/answer.js'
import { combinationGoal, speedGoal } from '../../../bench/speculation/goals.js'
import type { SideResult } from '../../../bench/speculation/measure.js'
import { copyingPrompts, parseHeldOut, readHeldOut, repetition } from '../../../bench/speculation/prompts.js'
import { medianInterval } from '../../../bench/statistics.js'

describe('held-out prompts', () => {
  it('are the texts after their headings', () =>
    assert.deepEqual(parseHeldOut('=== a.ts\none\n  two\n\n=== b.md\nthree\n'), [
      { name: 'a.ts', text: 'one\n  two' },
      { name: 'b.md', text: 'three' },
    ]))

  it('are 40 different ones', () => assert.equal(new Set(readHeldOut().map(({ text }) => text)).size, 40))
})

describe('copying prompts', () => {
  const pieces = ['interface A {\n  x: number\n  y: number\n}', 'class B {\n  run(): void\n  end(): void\n}']

  it('have a file and then its beginning, cut before a line’s last word', () =>
    assert.ok(copyingPrompts(pieces, 1)[0]?.endsWith('}\n\ninterface A {\n  x:')))

  it('rename what the beginning declares in every second', () =>
    assert.ok(copyingPrompts(pieces, 2)[1]?.endsWith('}\n\nclass BCopy {\n  run():')))

  it('are as many as asked, and different', () =>
    assert.equal(
      new Set(
        copyingPrompts(
          readHeldOut().map(({ text }) => text),
          40,
        ),
      ).size,
      40,
    ))
})

describe('repetition', () => {
  it('tells lines of the prompt from those of the answer itself', () =>
    assert.deepEqual(repetition('a\nb\nc', 'x\nb\nd\nd\n  d\ncut'), { ofPrompt: 0.25, ofItself: 0.5 }))

  it('is nothing where no line is whole', () =>
    assert.deepEqual(repetition('a', 'one line'), { ofPrompt: 0, ofItself: 0 }))
})

describe('figures of answers', () => {
  const answer = {
    tokenIds: [1, 2, 3, 4, 5],
    text: '',
    promptTokens: 300,
    steps: 4,
    numFirst: 1,
    firstMs: 100,
    lastMs: 200,
  }

  it('decode speed leaves the first chunk out', () => assert.equal(decodeSpeed([answer, answer]), 40))
  it('whole speed counts from send', () => assert.equal(wholeSpeed([answer]), 25))
  it('tokens per step count steps of prefill', () => assert.equal(tokensPerStep([answer]), 1.25))
  it('a step’s time leaves steps of prefill out', () => assert.equal(stepMs([answer]), 50))

  it('answers that differ fail with the place', () =>
    assert.throws(() => checkEqual('x', { tokenIds: [1, 9] }, { tokenIds: [1, 2] }), /x: want token 2 at 1, found 9/))

  it('an answer that is too long fails', () =>
    assert.throws(() => checkEqual('x', { tokenIds: [1, 2] }, { tokenIds: [1] }), /want token none at 1, found 2/))
})

describe('goals of speculation', () => {
  const side = (name: string, speed: readonly number[], promptSpeed = speed): SideResult => ({
    side: name,
    speed,
    promptSpeed,
    wholeSpeed: speed,
    tau: [],
    stepMs: [],
    predictionError: [],
  })
  const sides = [side('off', [10, 10]), side('a', [20, 20]), side('b', [30, 30]), side('all', [29, 32])]
  const result = { name: 'x', baseline: 'off', sides, repetition: [] }

  it('are met by the median of the rounds’ ratios', () => {
    assert.equal(speedGoal(result, 'a', 2).isMet, true)
    assert.equal(speedGoal(result, 'a', 2.1).isMet, false)
  })

  it('hold the combination against the fastest single source', () =>
    assert.match(combinationGoal(result, 'all').what, /best single \(b\)/))
})

describe('the interval of a median', () => {
  const numbers = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 })

  it('is that of the tables: the 6th to the 15th of 20', () =>
    assert.deepEqual(medianInterval(Array.from({ length: 20 }, (_, i) => i + 1)), { low: 6, high: 15 }))

  it('is the whole range of too few values', () => assert.deepEqual(medianInterval([3, 1, 2]), { low: 1, high: 3 }))

  it('is of many values as of few', () => {
    const { low, high } = medianInterval(Array.from({ length: 5000 }, (_, i) => i))
    assert.ok(low > 2400 && low < 2500 && high > 2500 && high < 2600, `${low} ${high}`)
  })

  it('has its ends in order', () =>
    fc.assert(
      fc.property(numbers, (values) => {
        const { low, high } = medianInterval(values)
        assert.ok(low <= high && values.includes(low) && values.includes(high))
      }),
    ))
})
