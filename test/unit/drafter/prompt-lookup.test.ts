import assert from 'node:assert/strict'
import fc from 'fast-check'
import { checkTree } from '../../../lib/speculative/token-tree.js'
import type { Draft } from '../../../services/drafter/draft-source.js'
import { createPromptLookup, PROMPT_LOOKUP_DEFAULTS } from '../../../services/drafter/prompt-lookup.js'

function draftAfter(tokens: readonly number[], maxNodes = 8, options = PROMPT_LOOKUP_DEFAULTS): Draft {
  const source = createPromptLookup(options)
  const committed = Int32Array.from(tokens)
  source.observe('s', committed, 0)
  return source.propose('s', committed, maxNodes)
}

/** The tokens under the root, always taking the most valuable child. */
function mainBranch(draft: Draft): number[] {
  const branch: number[] = []
  for (let node = 0; node !== -1;) {
    node = draft.parents.indexOf(node) // children are in the order of their values
    if (node !== -1) branch.push(draft.tokens[node]!)
  }
  return branch
}

const childrenOfRoot = ({ tokens, parents }: Draft): number[] => [...tokens].filter((_, node) => parents[node] === 0)

describe('createPromptLookup', () => {
  it('proposes what followed the same tokens before', () => {
    assert.deepEqual(mainBranch(draftAfter([1, 2, 3, 4, 5, 9, 1, 2, 3], 4)), [4, 5, 9])
  })

  it('proposes nothing but the root where the last token is new', () => {
    assert.deepEqual([...draftAfter([1, 2, 3]).tokens], [3])
  })

  it('prefers a longer match to a more recent one', () => {
    //                             1 2 3 → 7          3 → 8
    assert.equal(mainBranch(draftAfter([1, 2, 3, 7, 0, 5, 3, 8, 6, 1, 2, 3]))[0], 7)
  })

  it('prefers the most recent of equally long matches', () => {
    assert.deepEqual(childrenOfRoot(draftAfter([9, 4, 9, 5, 9])).slice(0, 2), [5, 4])
  })

  it('prefers what followed more often', () => {
    assert.equal(childrenOfRoot(draftAfter([9, 4, 1, 9, 4, 2, 9, 4, 3, 9, 5, 0, 9]))[0], 4)
  })

  it('merges continuations into branches of one tree', () => {
    const draft = draftAfter([9, 4, 1, 0, 9, 4, 2, 0, 9], 16)
    const fork = draft.tokens.indexOf(4)
    const branches = [...draft.tokens].filter((_, node) => draft.parents[node] === fork)
    assert.deepEqual([childrenOfRoot(draft), branches], [[4], [2, 1]])
  })

  it('goes on with a loop beyond the end of the sequence', () => {
    assert.deepEqual(mainBranch(draftAfter([1, 2, 1, 2, 1], 6)), [2, 1, 2, 1, 2])
  })

  it('finds a match after the sequence grew token by token', () => {
    const source = createPromptLookup()
    const tokens = Int32Array.from({ length: 600 }, (_, i) => (i * i) % 257)
    for (let length = 1; length <= tokens.length; length++) source.observe('s', tokens.slice(0, length), length - 1)
    const committed = Int32Array.of(...tokens, tokens[100]!, tokens[101]!, tokens[102]!)
    source.observe('s', committed, tokens.length)
    assert.deepEqual(mainBranch(source.propose('s', committed, 4)), [...tokens.subarray(103, 106)])
  })

  it('trusts matches less after they were wrong', () => {
    const source = createPromptLookup()
    const valueOfBest = (committed: Int32Array): number => source.propose('s', committed, 2).values[1]!
    let committed = Int32Array.of(1, 2, 1)
    source.observe('s', committed, 0)
    const before = valueOfBest(committed)
    for (let wrong = 3; wrong < 40; wrong++) {
      source.propose('s', committed, 2)
      committed = Int32Array.of(...committed, wrong, 1)
      source.observe('s', committed, committed.length - 2)
    }
    assert.ok(valueOfBest(committed) < before / 2)
  })

  it('never proposes the tokens of another sequence', () => {
    const source = createPromptLookup()
    source.observe('a', Int32Array.of(1, 2, 3), 0)
    source.observe('b', Int32Array.of(7, 1), 0)
    assert.deepEqual([...source.propose('b', Int32Array.of(7, 1), 8).tokens], [1])
  })

  it('proposes nothing after it forgot the sequence', () => {
    const source = createPromptLookup()
    const committed = Int32Array.of(1, 2, 1)
    source.observe('s', committed, 0)
    source.forget('s')
    assert.deepEqual([...source.propose('s', committed, 8).tokens], [1])
  })

  it('always proposes a tree within its budget whose values fall along every path', () => {
    const drawing = fc.record({
      tokens: fc.array(fc.nat(4), { minLength: 1, maxLength: 200 }),
      maxNodes: fc.integer({ min: 1, max: 40 }),
      maxNgram: fc.integer({ min: 1, max: 6 }),
    })
    fc.assert(
      fc.property(drawing, ({ tokens, maxNodes, maxNgram }) => {
        const draft = draftAfter(tokens, maxNodes, { ...PROMPT_LOOKUP_DEFAULTS, maxNgram })
        checkTree(draft, { maxNodes, vocabSize: 5, root: tokens[tokens.length - 1]! })
        assert.equal(draft.values[0], 1)
        draft.values.forEach((value, node) => assert.ok(node === 0 || value <= draft.values[draft.parents[node]!]!))
      }),
    )
  })

  it('draws every branch from a place where its match stands', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 100 }), (tokens) => {
        const draft = draftAfter(tokens, 16)
        const last = tokens[tokens.length - 1]
        const followers = new Set(tokens.slice(1).filter((_, i) => tokens[i] === last))
        assert.ok(childrenOfRoot(draft).every((token) => followers.has(token)))
        assert.equal(draft.tokens.length > 1, followers.size > 0)
      }),
    )
  })
})
