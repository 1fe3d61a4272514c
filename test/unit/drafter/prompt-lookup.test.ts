import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createPromptLookup, PROMPT_LOOKUP_DEFAULTS } from '../../../services/drafter/prompt-lookup.js'
import { checkTree, childTokens, mainBranch, observeAndPropose, propose, readAll, sequenceOf } from './drafting.js'

const draftAfter = (tokens: readonly number[], options = PROMPT_LOOKUP_DEFAULTS) =>
  observeAndPropose(createPromptLookup(options), sequenceOf(tokens))

describe('createPromptLookup', () => {
  it('proposes what followed the same tokens before', () => {
    assert.deepEqual(mainBranch(draftAfter([1, 2, 3, 4, 5, 9, 1, 2, 3])).slice(0, 3), [4, 5, 9])
  })

  it('proposes nothing but the root where the last token is new', () => {
    assert.deepEqual(draftAfter([1, 2, 3]).tokens, [3])
  })

  it('prefers a longer match to a more recent one', () => {
    //                             1 2 3 → 7          3 → 8
    assert.equal(mainBranch(draftAfter([1, 2, 3, 7, 0, 5, 3, 8, 6, 1, 2, 3]))[0], 7)
  })

  it('prefers the most recent of equally long matches', () => {
    assert.deepEqual(childTokens(draftAfter([9, 4, 9, 5, 9])).slice(0, 2), [5, 4])
  })

  it('prefers what followed more often', () => {
    assert.equal(childTokens(draftAfter([9, 4, 1, 9, 4, 2, 9, 4, 3, 9, 5, 0, 9]))[0], 4)
  })

  it('merges continuations into branches of one tree', () => {
    const tree = draftAfter([9, 4, 1, 0, 9, 4, 2, 0, 9])
    const fork = tree.child(0, 4) ?? assert.fail('4 followed every 9')
    assert.deepEqual([childTokens(tree), childTokens(tree, fork)], [[4], [2, 1]])
  })

  it('goes on with a loop beyond the end of the sequence', () => {
    assert.deepEqual(mainBranch(draftAfter([1, 2, 1, 2, 1])).slice(0, 5), [2, 1, 2, 1, 2])
  })

  it('finds a match after the sequence grew token by token', () => {
    const source = createPromptLookup()
    const tokens = Array.from({ length: 600 }, (_, i) => (i * i) % 257)
    for (let length = 1; length <= tokens.length; length++) {
      source.observe(sequenceOf(tokens.slice(0, length)), length - 1)
    }
    const sequence = sequenceOf([...tokens, ...tokens.slice(100, 103)])
    source.observe(sequence, tokens.length)
    assert.deepEqual(mainBranch(propose(source, sequence)).slice(0, 3), tokens.slice(103, 106))
  })

  it('trusts matches less after they were wrong', () => {
    const source = createPromptLookup()
    const estimateOfBest = (tokens: readonly number[]): number =>
      Math.max(...propose(source, sequenceOf(tokens)).estimates.slice(1))
    const tokens = [1, 2, 1]
    source.observe(sequenceOf(tokens), 0)
    const before = estimateOfBest(tokens)
    for (let wrong = 3; wrong < 40; wrong++) {
      propose(source, sequenceOf(tokens))
      tokens.push(wrong, 1)
      source.observe(sequenceOf(tokens), tokens.length - 2)
    }
    assert.ok(estimateOfBest(tokens) < before / 2)
  })

  it('P3 never proposes the tokens of another sequence', () => {
    const source = createPromptLookup()
    source.observe(sequenceOf([1, 2, 3], { id: 'a' }), 0)
    assert.deepEqual(observeAndPropose(source, sequenceOf([7, 1], { id: 'b' })).tokens, [1])
  })

  it('D2 proposes nothing after it forgot the sequence', () => {
    const source = createPromptLookup()
    const sequence = sequenceOf([1, 2, 1])
    readAll(source, sequence)
    assert.deepEqual(propose(source, sequence).tokens, [1])
  })

  it('C1 C2 always proposes a tree within its limits', () => {
    const drawing = fc.record({
      tokens: fc.array(fc.nat(4), { minLength: 1, maxLength: 200 }),
      maxNodes: fc.integer({ min: 1, max: 40 }),
      maxNgram: fc.integer({ min: 1, max: 6 }),
      capacity: fc.integer({ min: 1, max: 30 }),
    })
    fc.assert(
      fc.property(drawing, ({ tokens, maxNodes, maxNgram, capacity }) => {
        const source = createPromptLookup({ ...PROMPT_LOOKUP_DEFAULTS, maxNodes, maxNgram })
        const tree = observeAndPropose(source, sequenceOf(tokens), capacity)
        checkTree(tree)
        assert.ok(tree.size <= Math.min(maxNodes + 1, capacity))
        assert.ok(Math.max(...tree.depths) <= PROMPT_LOOKUP_DEFAULTS.maxDepth)
      }),
    )
  })

  it('draws every branch from a place where its match stands', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 100 }), (tokens) => {
        const tree = draftAfter(tokens)
        const last = tokens[tokens.length - 1]
        const followers = new Set(tokens.slice(1).filter((_, i) => tokens[i] === last))
        assert.ok(childTokens(tree).every((token) => followers.has(token)))
        assert.equal(tree.size > 1, followers.size > 0)
      }),
    )
  })
})
