// Requests with one beginning: bench/shared-prefix.ts.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Contender } from '../../../bench/peers/contender.js'
import { askFirstToken, drawSharedPrefix } from '../../../bench/shared-prefix.js'

const shape = fc.record({
  seed: fc.nat(10_000),
  count: fc.integer({ min: 2, max: 20 }),
  prefixTokens: fc.integer({ min: 16, max: 64 }),
  ownTokens: fc.integer({ min: 16, max: 32 }),
  vocabSize: fc.integer({ min: 1000, max: 200_000 }),
})

describe('drawSharedPrefix', () => {
  it('draws prompts that are equal up to the prefix’s end and differ after it', () => {
    fc.assert(
      fc.property(shape, (drawn) => {
        const prompts = drawSharedPrefix(drawn)
        const parts = (from: number, to?: number): number => new Set(prompts.map((p) => String(p.slice(from, to)))).size
        assert.ok(prompts.every(({ length }) => length === drawn.prefixTokens + drawn.ownTokens))
        assert.equal(parts(0, drawn.prefixTokens), 1)
        assert.equal(parts(drawn.prefixTokens), drawn.count)
      }),
    )
  })

  it('draws another prefix for another seed', () => {
    fc.assert(
      fc.property(shape, (drawn) => {
        const [[first] = [], [second] = []] = [drawn, { ...drawn, seed: drawn.seed + 1 }].map(drawSharedPrefix)
        assert.notDeepEqual(first?.slice(0, drawn.prefixTokens), second?.slice(0, drawn.prefixTokens))
      }),
    )
  })
})

describe('askFirstToken', () => {
  const side = (tokens: number[][], timesMs: number[][]): Contender => ({
    decode: () => Promise.resolve({ tokens, timesMs }),
    memory: () => ({ anonymousBytes: 0, totalBytes: 0 }),
    stop: () => Promise.resolve(),
  })

  it('gives the token and its time', async () =>
    assert.deepEqual(await askFirstToken(side([[7]], [[250]]), [1]), { token: 7, ms: 250 }))

  it('says where none came', () => assert.rejects(askFirstToken(side([[]], [[]]), [1]), /want a first token/))
})
