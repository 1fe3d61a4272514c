import assert from 'node:assert/strict'
import fc from 'fast-check'
import { NgramContexts, NO_TOKEN, NUM_FOLLOWERS } from '../../../services/drafter/ngram-contexts.js'
import { NgramTable } from '../../../services/drafter/ngram-table.js'
import { createNgramSource, NGRAM_DEFAULTS } from '../../../services/drafter/ngram.js'
import { checkTree, childTokens, mainBranch, observeAndPropose, propose, readAll, sequenceOf } from './drafting.js'

const draftAfter = (tokens: readonly number[], options = NGRAM_DEFAULTS) =>
  observeAndPropose(createNgramSource(options), sequenceOf(tokens))

/** The definition: how often each token followed the key. */
function followersOf(text: readonly number[], key: readonly number[]): [number, number][] {
  const counts = new Map<number, number>()
  text.forEach((token, i) => {
    const isAfter = i >= key.length && key.every((part, k) => text[i - key.length + k] === part)
    if (isAfter) counts.set(token, (counts.get(token) ?? 0) + 1)
  })
  return [...counts].sort(([a], [b]) => a - b)
}

function followersIn(table: NgramTable | NgramContexts, before: number, last: number): [number, number][] {
  const { tokens, counts } = table.followers({ before, last }) ?? { tokens: [], counts: [] }
  return tokens.map((token, i): [number, number] => [token, counts[i]!]).sort(([a], [b]) => a - b)
}

describe('createNgramSource', () => {
  it('proposes what followed the last two tokens before what followed the last one', () => {
    assert.deepEqual(childTokens(draftAfter([1, 2, 30, 5, 2, 40, 5, 2, 40, 1, 2])).slice(0, 2), [30, 40])
  })

  it('proposes what mostly followed, in the order of frequencies', () => {
    assert.deepEqual(childTokens(draftAfter([9, 6, 9, 5, 9, 4, 9, 6, 9, 5, 9, 6, 77, 9])).slice(0, 3), [6, 5, 4])
  })

  it('goes on with pairs it has seen', () => {
    assert.deepEqual(mainBranch(draftAfter([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1])), [2, 3, 4, 1])
  })

  it('C1 C2 always proposes a small tree', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(4), { minLength: 1, maxLength: 150 }),
        fc.integer({ min: 1, max: 20 }),
        (tokens, capacity) => {
          const tree = observeAndPropose(createNgramSource(), sequenceOf(tokens), capacity)
          checkTree(tree)
          assert.ok(tree.size <= Math.min(NGRAM_DEFAULTS.maxNodes + 1, capacity))
          assert.ok(Math.max(...tree.depths) <= NGRAM_DEFAULTS.maxDepth)
        },
      ),
    )
  })

  it('M2 learns a token once, however often it is told', () => {
    const source = createNgramSource()
    const sequence = sequenceOf([1, 2, 1, 2, 1])
    const once = observeAndPropose(source, sequence)
    const twice = observeAndPropose(source, sequence)
    assert.deepEqual(twice.estimates, once.estimates)
  })

  it('M1 learns from living and finished sequences of its scope', () => {
    const source = createNgramSource()
    source.observe(sequenceOf([1, 2], { id: 'alive', scope: 'a' }), 0)
    readAll(source, sequenceOf([1, 3], { id: 'past', scope: 'a' }))
    assert.deepEqual(childTokens(observeAndPropose(source, sequenceOf([1], { scope: 'a' }))), [2, 3])
  })

  it('D3 proposes nothing of another scope or of another sequence without a scope', () => {
    const source = createNgramSource()
    for (const scope of ['a', '']) source.observe(sequenceOf([1, 2, 3], { id: `other-${scope}`, scope }), 0)
    for (const scope of ['b', '']) {
      assert.equal(observeAndPropose(source, sequenceOf([2, 1], { id: `new-${scope}`, scope })).size, 1)
    }
  })

  it('D2 proposes nothing after it forgot the sequence', () => {
    const source = createNgramSource()
    const sequence = sequenceOf([1, 2, 1])
    readAll(source, sequence)
    assert.equal(propose(source, sequence).size, 1)
  })

  it('M1 forgets the least recently used scope above its bound', () => {
    const source = createNgramSource({ ...NGRAM_DEFAULTS, maxScopes: 2 })
    for (const scope of ['a', 'b', 'c']) source.observe(sequenceOf([1, 2], { id: scope, scope }), 0)
    const sizes = ['c', 'b', 'a'].map(
      (scope) => observeAndPropose(source, sequenceOf([1], { id: `${scope}2`, scope })).size,
    )
    assert.deepEqual(sizes, [2, 2, 1])
  })
})

describe('NgramTable', () => {
  it('B3 counts exactly what a search counts while no context has more followers than it keeps', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(NUM_FOLLOWERS - 1), { maxLength: 200 }), fc.nat(200), (text, cut) => {
        const table = new NgramTable(1000)
        table.read(Int32Array.from(text.slice(0, cut)), 0)
        table.read(Int32Array.from(text), Math.min(cut, text.length))
        for (let last = 0; last < NUM_FOLLOWERS; last++) {
          assert.deepEqual(followersIn(table, NO_TOKEN, last), followersOf(text, [last]))
          for (let before = 0; before < NUM_FOLLOWERS; before++) {
            assert.deepEqual(followersIn(table, before, last), followersOf(text, [before, last]))
          }
        }
      }),
      { numRuns: 50 },
    )
  })

  it('B4 stays within its bound and still knows what it read last', () => {
    const table = new NgramTable(500)
    const text = Int32Array.from({ length: 20_000 }, (_, i) => i)
    table.read(text, 0)
    assert.ok(table.numContexts <= 1000)
    assert.deepEqual(followersIn(table, 19_997, 19_998), [[19_999, 1]])
    assert.deepEqual(followersIn(table, 1, 2), [])
  })

  it('B4 keeps a context that is learned again and again', () => {
    const table = new NgramTable(100)
    const text = Int32Array.from({ length: 5_000 }, (_, i) => (i % 20 < 2 ? -(i % 20) + 10_001 : i)) // … 10001 10000 …
    table.read(text, 0)
    assert.deepEqual(followersIn(table, NO_TOKEN, 10_001), [[10_000, 250]])
  })
})

describe('NgramContexts', () => {
  const KEY = { before: 1, last: 2 }

  it('B2 halves the counts at their bound, so that a change is followed', () => {
    const contexts = new NgramContexts()
    for (let i = 0; i < 1000; i++) contexts.learn(KEY, 7)
    for (let i = 0; i < 260; i++) contexts.learn(KEY, 8)
    const { tokens, counts } = contexts.followers(KEY) ?? assert.fail('the context is gone')
    assert.deepEqual(tokens, [7, 8])
    assert.ok(counts[0]! < counts[1]!)
  })

  it('keeps the frequent followers while rare ones come and go', () => {
    const contexts = new NgramContexts()
    for (let i = 0; i < 100; i++) for (const token of [7, 8, 1000 + i]) contexts.learn(KEY, token)
    const { tokens, counts } = contexts.followers(KEY) ?? assert.fail('the context is gone')
    assert.equal(tokens.length, NUM_FOLLOWERS)
    assert.deepEqual(counts.slice(0, 2), [100, 100])
  })

  it('B1 keeps every context while it grows', () => {
    const contexts = new NgramContexts()
    for (let last = 0; last < 5_000; last++) contexts.learn({ before: last % 3, last }, last + 1)
    assert.equal(contexts.size, 5_000)
    for (let last = 0; last < 5_000; last++) {
      assert.deepEqual(followersIn(contexts, last % 3, last), [[last + 1, 1]])
    }
  })
})
