import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createPrefixCache } from '../../../services/router/prefix-cache.js'

const count = (length: number, from = 0): number[] => Array.from({ length }, (_, i) => from + i)

describe('prefix cache', () => {
  it('finds the longest prefix in whole blocks, shorter than what asks (P1)', () => {
    const cache = createPrefixCache()
    cache.note('a', count(40), 40)
    assert.deepEqual(cache.find(count(40)), { sequence: 'a', length: 32 })
    assert.deepEqual(cache.find(count(32)), { sequence: 'a', length: 16 })
    assert.deepEqual(cache.find([...count(20), ...count(20, 500)]), { sequence: 'a', length: 16 })
    assert.equal(cache.find(count(40, 1)), undefined)
  })

  it('a sequence is found as far as its KV has come', () => {
    const cache = createPrefixCache()
    for (const [length, found] of [
      [15, 0],
      [16, 16],
      [47, 32],
      [48, 48],
    ] as const) {
      cache.note('a', count(60), length)
      assert.equal(cache.peek(count(60)), found)
    }
  })

  it('gives up the least recently used first', () => {
    const cache = createPrefixCache()
    for (const [i, name] of ['a', 'b', 'c'].entries()) {
      cache.note(name, count(20, 100 * i), 20)
      cache.keep(name)
    }
    cache.find(count(20))
    assert.deepEqual([cache.oldest(), cache.oldest('b')], ['b', 'c'])
    cache.forget('b')
    assert.equal(cache.find(count(20, 100)), undefined)
  })

  it('keeps nothing of a sequence that is shorter than a block', () => {
    const cache = createPrefixCache()
    cache.note('a', count(9), 9)
    assert.equal(cache.keep('a'), false)
  })

  it('what is found is held, and nothing is left when all are forgotten', () => {
    const held = fc.array(fc.tuple(fc.nat(6), fc.array(fc.nat(1), { maxLength: 80 })), { maxLength: 20 })
    fc.assert(
      fc.property(held, fc.array(fc.nat(1), { maxLength: 80 }), (sequences, asked) => {
        const cache = createPrefixCache()
        const tokensOf = new Map<string, number[]>()
        for (const [id, tokens] of sequences) {
          cache.forget(String(id))
          cache.note(String(id), tokens, tokens.length)
          tokensOf.set(String(id), tokens)
        }
        const found = cache.find(asked)
        const common = (tokens: number[]): number => {
          let length = 0
          while (length < asked.length - 1 && length < tokens.length && tokens[length] === asked[length]) length += 1
          return length - (length % 16)
        }
        assert.equal(found?.length ?? 0, Math.max(0, ...[...tokensOf.values()].map(common)))
        if (found) assert.ok(common(tokensOf.get(found.sequence) ?? []) >= found.length)
        for (const id of tokensOf.keys()) cache.forget(id)
        assert.equal(cache.peek(asked), 0)
      }),
    )
  })
})
