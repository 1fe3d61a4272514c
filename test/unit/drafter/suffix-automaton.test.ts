import assert from 'node:assert/strict'
import fc from 'fast-check'
import { NO_MATCH, SuffixAutomaton, type SuffixMatch } from '../../../services/drafter/suffix-automaton.js'

function read(texts: readonly (readonly number[])[]): SuffixAutomaton {
  const automaton = new SuffixAutomaton()
  for (const text of texts) {
    automaton.startText()
    for (const token of text) automaton.append(token)
  }
  return automaton
}

/** The definition: how often a string is followed by each token, within one text. */
function followersOf(texts: readonly (readonly number[])[], string: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const text of texts) {
    for (let start = 0; start + string.length < text.length; start++) {
      const next = text[start + string.length]!
      if (string.every((token, i) => text[start + i] === token)) counts.set(next, (counts.get(next) ?? 0) + 1)
    }
  }
  return counts
}

const occurs = (texts: readonly (readonly number[])[], string: readonly number[]): boolean =>
  texts.some((text) => text.some((_, start) => string.every((token, i) => text[start + i] === token)))

/** The definition: the longest end of a string that occurs. */
function longestEnd(texts: readonly (readonly number[])[], string: readonly number[]): readonly number[] {
  const end = string.findIndex((_, start) => occurs(texts, string.slice(start)))
  return end === -1 ? [] : string.slice(end)
}

function nextOf(automaton: SuffixAutomaton, match: SuffixMatch, limit = Infinity): Map<number, number> {
  const counts = new Map<number, number>()
  automaton.visitNext(match, limit, (token, count) => counts.set(token, count))
  return counts
}

const sorted = (counts: Map<number, number>): [number, number][] => [...counts].sort(([a], [b]) => a - b)

const TEXTS = fc
  .integer({ min: 0, max: 2 })
  .chain((greatest) => fc.array(fc.array(fc.nat(greatest), { maxLength: 40 }), { maxLength: 4 }))

describe('SuffixAutomaton', () => {
  it('S1 S3 knows what followed every string of every text, and how often', () => {
    fc.assert(
      fc.property(TEXTS, (texts) => {
        const automaton = read(texts)
        for (const text of texts) {
          for (let start = 0; start < text.length; start++) {
            for (let end = start + 1; end <= text.length; end++) {
              const string = text.slice(start, end)
              const match = automaton.match(Int32Array.from(string))
              assert.equal(match.length, string.length)
              assert.deepEqual(sorted(nextOf(automaton, match)), sorted(followersOf(texts, string)))
            }
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  it('S1 S5 follows another text by the longest end that occurs, after every token', () => {
    fc.assert(
      fc.property(TEXTS, fc.array(fc.nat(3), { maxLength: 60 }), (texts, other) => {
        const automaton = read(texts)
        let match = NO_MATCH
        other.forEach((token, i) => {
          match = automaton.advance(match, token)
          assert.equal(match.length, longestEnd(texts, other.slice(0, i + 1)).length)
        })
      }),
    )
  })

  it('S2 goes from the whole text to its longest end that occurred before, and on to shorter ones', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2), { minLength: 1, maxLength: 60 }), (text) => {
        const automaton = read([text])
        assert.equal(automaton.whole.length, text.length)
        let numPlaces = 1
        for (let match = automaton.shorter(automaton.whole); match.length > 0; match = automaton.shorter(match)) {
          const followers = followersOf([text], text.slice(-match.length))
          const more = [...followers.values()].reduce((sum, count) => sum + count, 1) // and the end itself
          assert.ok(more > numPlaces)
          numPlaces = more
          assert.deepEqual(sorted(nextOf(automaton, match)), sorted(followers))
        }
      }),
    )
  })

  it('S1 finds nothing across the border of two texts', () => {
    const automaton = read([
      [1, 2],
      [3, 4],
    ])
    assert.equal(automaton.match(Int32Array.of(1, 2, 3)).length, 1)
    assert.equal(nextOf(automaton, automaton.match(Int32Array.of(2))).size, 0)
  })

  it('S3 counts the same whether texts came before or after one another', () => {
    fc.assert(
      fc.property(TEXTS, (texts) => {
        const string = texts[0]?.slice(0, 3) ?? []
        const [one, other] = [read(texts), read(texts.toReversed())].map((automaton) =>
          sorted(nextOf(automaton, automaton.match(Int32Array.from(string)))),
        )
        assert.deepEqual(one, other)
      }),
    )
  })

  it('S4 takes a bounded number of bytes per token, whatever the text', () => {
    for (const tokenAt of [(i: number) => i % 2, () => 7, (i: number) => i, (i: number) => (i * i) % 257]) {
      const automaton = new SuffixAutomaton()
      for (let i = 0; i < 50_000; i++) automaton.append(tokenAt(i))
      assert.equal(automaton.numTokens, 50_000)
      assert.ok(automaton.numBytes <= 220 * automaton.numTokens, `${automaton.numBytes / automaton.numTokens} bytes`)
    }
  })

  it('S2 keeps every link while it grows', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { minLength: 500, maxLength: 1500 }), (text) => {
        const automaton = new SuffixAutomaton()
        for (const token of text) {
          automaton.append(token)
          const link = automaton.shorter(automaton.whole)
          assert.ok(link.length >= 0 && link.length < automaton.whole.length)
        }
      }),
      { numRuns: 20 },
    )
  })

  it('visits no more followers than it was asked to, the first seen first', () => {
    const automaton = read([[5, 3, 5, 9, 5, 1, 5, 3]])
    assert.deepEqual(
      [...nextOf(automaton, automaton.match(Int32Array.of(5)), 2)],
      [
        [3, 2],
        [9, 1],
      ],
    )
  })
})
