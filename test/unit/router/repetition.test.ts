// How far a text repeats itself.

import assert from 'node:assert/strict'
import { Repetition, RepetitionOdds } from '../../../services/router/repetition.js'

const streakOf = (tokens: readonly number[]): number => {
  const repetition = new Repetition(new RepetitionOdds())
  repetition.read(tokens, 0)
  return repetition.streak
}

describe('Repetition', () => {
  it('counts the last tokens that came the last time after the same two', () => {
    assert.equal(streakOf([1, 2, 3, 4, 5]), 0)
    assert.equal(streakOf([1, 2, 3, 1, 2]), 0)
    assert.equal(streakOf([1, 2, 3, 1, 2, 3]), 1)
    assert.equal(streakOf([1, 2, 3, 1, 2, 3, 1, 2]), 3)
    assert.equal(streakOf([1, 2, 3, 1, 2, 3, 1, 9]), 0)
    assert.equal(streakOf([7, 7, 7, 7, 7]), 2)
  })

  it('says the same whether tokens come at once or one by one', () => {
    const tokens = Array.from({ length: 400 }, (_, i) => (i * i) % 17)
    const repetition = new Repetition(new RepetitionOdds())
    for (let end = 0; end <= tokens.length; end++) repetition.read(tokens.slice(0, end), 0)
    assert.equal(repetition.streak, streakOf(tokens))
    assert.ok(repetition.streak > 300)
  })

  it('reads a very long text in bounded time, by its end', () => {
    const long = Array.from({ length: 1_000_000 }, (_, i) => (i < 999_000 ? i : i % 50))
    assert.ok(streakOf(long) > 900)
  })

  it('goes on with what followed the last two tokens the time before, in a circle where that is all there is', () => {
    const tokensAfter = (tokens: readonly number[], most = 5): readonly number[] => {
      const repetition = new Repetition(new RepetitionOdds())
      repetition.read(tokens, 0)
      return repetition.next(tokens, { most, least: 0 }).tokens
    }
    assert.deepEqual(tokensAfter([1, 2, 3, 4]), [])
    assert.deepEqual(tokensAfter([1, 2, 3, 4, 5, 1, 2], 3), [3, 4, 5])
    assert.deepEqual(tokensAfter([9, 1, 2, 1, 2, 1, 2]), [1, 2, 1, 2, 1])
    assert.deepEqual(tokensAfter([7]), [])
  })

  it('values a token by how often such texts went on repeating', () => {
    const odds = new RepetitionOdds()
    const text = (last: number): number[] => [...Array.from({ length: 30 }, (_, i) => i % 5), last] // ends otherwise
    for (let i = 0; i < 100; i++) new Repetition(odds).read(text(99), 0)
    assert.ok(odds.of(4) > 0.9)
    assert.ok(odds.of(16) < 0.9)
    const tokens = [1, 2, 3, 4, 5, 1, 2, 3]
    const repetition = new Repetition(odds)
    repetition.read(tokens, 0)
    const { values } = repetition.next(tokens, { most: 8, least: 0.2 })
    for (const [i, value] of values.entries()) assert.ok(value <= (values[i - 1] ?? 1) && value >= 0.2)
  })

  it('learns nothing of prompts', () => {
    const odds = new RepetitionOdds()
    const before = odds.of(4)
    const tokens = Array.from({ length: 300 }, (_, i) => i % 5)
    new Repetition(odds).read(tokens, tokens.length)
    assert.equal(odds.of(4), before)
  })
})
