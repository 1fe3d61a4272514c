import assert from 'node:assert/strict'
import fc from 'fast-check'
import { NgramIndex } from '../../../services/drafter/ngram-index.js'

/** The definition: earlier ends of the last n tokens, most recent first. */
function search(tokens: readonly number[], n: number): number[] {
  const suffix = tokens.slice(-n).join()
  const ends: number[] = []
  for (let end = tokens.length - 2; end >= n - 1; end--) {
    if (tokens.slice(end - n + 1, end + 1).join() === suffix) ends.push(end)
  }
  return tokens.length < n ? [] : ends
}

describe('NgramIndex', () => {
  it('finds what a search finds, however the sequence grew', () => {
    const drawing = fc.tuple(
      fc.array(fc.nat(5), { minLength: 1, maxLength: 300 }),
      fc.integer({ min: 1, max: 4 }),
      fc.nat(300),
    )
    fc.assert(
      fc.property(drawing, ([tokens, n, cut]) => {
        const index = new NgramIndex(n)
        index.extend(Int32Array.from(tokens.slice(0, cut)))
        index.extend(Int32Array.from(tokens))
        assert.deepEqual(index.matches(Int32Array.from(tokens), 8), search(tokens, n).slice(0, 8))
      }),
    )
  })

  it('looks at a bounded number of places in a long run of one token', () => {
    const index = new NgramIndex(2)
    const tokens = new Int32Array(100_000)
    index.extend(tokens)
    assert.deepEqual(index.matches(tokens, 3), [99_998, 99_997, 99_996])
    assert.ok(index.matches(tokens, Infinity).length <= 64)
  })
})
