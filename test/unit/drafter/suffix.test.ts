import assert from 'node:assert/strict'
import fc from 'fast-check'
import { SuffixStore } from '../../../services/drafter/suffix-store.js'
import { createSuffixSource, SUFFIX_DEFAULTS } from '../../../services/drafter/suffix.js'
import {
  BY_WEIGHT,
  checkTree,
  childTokens,
  mainBranch,
  observeAndPropose,
  propose,
  readAll,
  sequenceOf,
} from './drafting.js'

const draftAfter = (tokens: readonly number[], options = SUFFIX_DEFAULTS) =>
  observeAndPropose(createSuffixSource(options), sequenceOf(tokens))

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

describe('createSuffixSource', () => {
  it('proposes the rest of a text that is being copied', () => {
    const text = range(100, 140)
    const branch = mainBranch(draftAfter([...text, 1, 2, ...text.slice(0, 12)]))
    assert.deepEqual(branch.slice(0, 20), text.slice(12, 32))
  })

  it('proposes nothing but the root where the last token is new', () => {
    assert.equal(draftAfter([1, 2, 3]).size, 1)
  })

  it('takes the end of the text for a match only where it occurred before', () => {
    assert.deepEqual(mainBranch(draftAfter([9, 8, 5, 9])).slice(0, 1), [8])
  })

  it('X1 prefers what followed a longer match to what followed a shorter one more often', () => {
    const tokens = [1, 2, 3, 4, 5, 70, 9, 5, 80, 9, 5, 80, 1, 2, 3, 4, 5]
    assert.deepEqual(childTokens(draftAfter(tokens)), [70, 80])
  })

  it('branches in the order of frequencies', () => {
    const tokens = [9, 6, 9, 5, 9, 4, 9, 6, 9, 5, 9, 6, 77, 9]
    assert.deepEqual(childTokens(draftAfter(tokens)).slice(0, 3), [6, 5, 4])
  })

  it('goes on with a loop beyond the end of the sequence', () => {
    const loop = [1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert.deepEqual(mainBranch(draftAfter(loop)).slice(0, 9), loop)
  })

  it('drafts deeper after a longer match', () => {
    const text = range(0, 60)
    const depthAfter = (copied: number): number =>
      mainBranch(draftAfter([...text, 99, ...text.slice(0, copied)])).length
    assert.ok(depthAfter(1) < depthAfter(4) && depthAfter(4) < depthAfter(16))
  })

  it('asks what the sampler makes of the counts at the position of the token', () => {
    const positions = new Set<number>()
    const ranker = {
      ...BY_WEIGHT,
      rankWeights: (tokens: readonly number[], weights: readonly number[], position: number) => {
        positions.add(position)
        const rarest = weights.indexOf(Math.min(...weights))
        return [{ token: tokens[rarest]!, probability: 0.9 }]
      },
    }
    const tree = observeAndPropose(createSuffixSource(), sequenceOf([9, 4, 9, 4, 9, 5, 77, 9], { ranker }))
    assert.equal(mainBranch(tree)[0], 5)
    assert.deepEqual([...positions].slice(0, 3), [8, 9, 10])
  })

  it('gives the same tree whether tokens came at once or one by one, told twice or once', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 80 }), (tokens) => {
        const source = createSuffixSource()
        for (let length = 1; length <= tokens.length; length++) {
          source.observe(sequenceOf(tokens.slice(0, length)), Math.max(0, length - 3))
        }
        const [once, pieces] = [draftAfter(tokens), propose(source, sequenceOf(tokens))]
        assert.deepEqual([pieces.tokens, pieces.parents], [once.tokens, once.parents])
      }),
    )
  })

  it('C1 C2 always proposes a tree within its limits', () => {
    const drawing = fc.record({
      tokens: fc.array(fc.nat(4), { minLength: 1, maxLength: 150 }),
      past: fc.array(fc.nat(4), { maxLength: 150 }),
      maxNodes: fc.integer({ min: 1, max: 40 }),
      maxDepth: fc.integer({ min: 1, max: 4 }),
      capacity: fc.integer({ min: 1, max: 30 }),
    })
    fc.assert(
      fc.property(drawing, ({ tokens, past, maxNodes, maxDepth, capacity }) => {
        const source = createSuffixSource({ ...SUFFIX_DEFAULTS, maxNodes, maxDepth })
        readAll(source, sequenceOf(past, { id: 'past', scope: 'a' }))
        const tree = observeAndPropose(source, sequenceOf(tokens, { scope: 'a' }), capacity)
        checkTree(tree)
        assert.ok(tree.size <= Math.min(maxNodes + 1, capacity))
        assert.ok(tree.values().every((value) => value >= SUFFIX_DEFAULTS.minValue * 0.999))
      }),
    )
  })

  it('X3 proposes what finished sequences of its scope said, and nothing of their prompts', () => {
    const source = createSuffixSource()
    readAll(source, sequenceOf([1, 2, 3, 4, 5, 6, 7], { id: 'past', scope: 'a', promptLength: 3 }))
    assert.deepEqual(mainBranch(observeAndPropose(source, sequenceOf([4, 5], { scope: 'a' }))), [6, 7])
    assert.equal(observeAndPropose(source, sequenceOf([1], { id: 't', scope: 'a' })).size, 1)
  })

  it('X3 learns of a finished sequence once', () => {
    const source = createSuffixSource()
    const past = sequenceOf([1, 2], { id: 'past', scope: 'a' })
    readAll(source, past)
    const before = observeAndPropose(source, sequenceOf([1], { scope: 'a' })).estimates[1]
    source.forget(past)
    assert.equal(propose(source, sequenceOf([1], { scope: 'a' })).estimates[1], before)
  })

  it('D3 proposes nothing of another scope, and stores nothing for the scope of nobody', () => {
    const SCOPES = ['', 'a', 'b']
    const text = fc.record({ scope: fc.constantFrom(...SCOPES), salt: fc.nat(5), length: fc.nat(20) })
    fc.assert(
      fc.property(fc.array(text, { maxLength: 12 }), (texts) => {
        const source = createSuffixSource()
        texts.forEach(({ scope, salt, length }, i) => {
          const marks = range(0, length).map((k) => 100 * SCOPES.indexOf(scope) + ((k * salt) % 7))
          readAll(source, sequenceOf([...marks.flatMap((mark) => [1, mark]), 1], { id: `past-${i}`, scope }))
        })
        for (const scope of SCOPES) {
          const tree = observeAndPropose(source, sequenceOf([1], { id: `new-${scope}`, scope }))
          if (scope === '') assert.equal(tree.size, 1)
          for (const token of tree.tokens.slice(1)) {
            assert.ok(token === 1 || Math.floor(token / 100) === SCOPES.indexOf(scope))
          }
        }
      }),
    )
  })

  it('D2 proposes nothing after it forgot a sequence without a scope', () => {
    const source = createSuffixSource()
    const sequence = sequenceOf([1, 2, 1])
    readAll(source, sequence)
    assert.equal(propose(source, sequence).size, 1)
  })
})

describe('SuffixStore', () => {
  const LIMITS = { maxGenerationTokens: 100, maxTokens: 450, maxScopes: 3 }
  const numTokensOf = (store: SuffixStore, scope: string): number =>
    store.generations(scope).reduce((sum, { numTokens }) => sum + numTokens, 0)
  const knows = (store: SuffixStore, scope: string, text: readonly number[]): boolean =>
    store.generations(scope).some((automaton) => automaton.match(Int32Array.from(text)).length === text.length)

  it('O1 stays within its limits whatever it is fed', () => {
    const drawing = fc.array(fc.record({ scope: fc.nat(6), length: fc.nat(250) }), { maxLength: 60 })
    fc.assert(
      fc.property(drawing, (texts) => {
        const store = new SuffixStore(LIMITS)
        for (const { scope, length } of texts) {
          store.add(`${scope}`, Int32Array.from(range(0, length)))
          assert.ok(store.numTokens <= LIMITS.maxTokens)
          assert.ok(numTokensOf(store, `${scope}`) <= 2 * LIMITS.maxGenerationTokens)
        }
        assert.ok(range(0, 7).filter((scope) => numTokensOf(store, `${scope}`) > 0).length <= LIMITS.maxScopes)
      }),
    )
  })

  it('O1 drops the oldest texts of a scope first and keeps at least a generation', () => {
    const store = new SuffixStore(LIMITS)
    for (let text = 0; text < 30; text++) store.add('a', Int32Array.from(range(text * 10, text * 10 + 10)))
    assert.ok(!knows(store, 'a', [0, 1, 2]))
    assert.ok(range(20, 30).every((text) => knows(store, 'a', range(text * 10, text * 10 + 10))))
  })

  it('O1 drops the least recently used scope first', () => {
    const store = new SuffixStore(LIMITS)
    for (const scope of ['a', 'b', 'c']) store.add(scope, Int32Array.of(1, 2))
    store.generations('a')
    store.add('d', Int32Array.of(1, 2))
    assert.deepEqual(
      ['a', 'b', 'c', 'd'].filter((scope) => knows(store, scope, [1, 2])),
      ['a', 'c', 'd'],
    )
  })

  it('O1 keeps the end of a text that is longer than a generation', () => {
    const store = new SuffixStore(LIMITS)
    store.add('a', Int32Array.from(range(0, 1000)))
    assert.equal(store.numTokens, LIMITS.maxGenerationTokens)
    assert.ok(knows(store, 'a', [997, 998, 999]))
  })

  it('O2 stores nothing for the scope of nobody', () => {
    const store = new SuffixStore(LIMITS)
    store.add('', Int32Array.of(1, 2, 3))
    assert.equal(store.numTokens, 0)
    assert.deepEqual(store.generations(''), [])
  })
})
