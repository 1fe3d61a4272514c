// Decides what the drafter answers to its messages: which tokens it holds, when it asks for them again, whose it uses.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { packF32 } from '../../../lib/wire/tensor.js'
import { drafterHandlers } from '../../../services/drafter/draft-actor.js'
import { createNgramSource } from '../../../services/drafter/ngram.js'
import { createPromptLookup } from '../../../services/drafter/prompt-lookup.js'
import { createSuffixSource } from '../../../services/drafter/suffix.js'
import {
  ask,
  entryOf,
  forget,
  LIMITS,
  newDrafter,
  parrot,
  partsOf,
  propose,
  proposeOne,
  recordingDrafting,
  startIn,
} from './drafter.js'
import { scriptedSource } from './scripted.js'

const CHAIN = { resend: false, tokens: [9, 1, 2, 3] }
const NOTHING = { resend: true, tokens: [] }

describe('drafterHandlers', () => {
  it('A1 answers every entry in order with a tree, root first', async () => {
    const updates = ['a', 'b'].map((sequence) => ({ sequence, tokens: [1, 2, 3, 9] }))
    const chain = { tokens: [9, 1, 2, 3], parents: [-1, 0, 1, 2], numValues: 4 }
    const sources = [[], ['parrot'], ['parrot'], ['parrot']]
    assert.deepEqual(
      await propose(newDrafter(), updates),
      ['a', 'b'].map((sequence) => ({ sequence, resend: false, ...chain, sources })),
    )
  })

  it('A1 answers those that it can place beside one that it cannot', async () => {
    const updates = [{ sequence: 'a', tokens: [1, 5] }, { sequence: 'b', from: 4, tokens: [1] }, { tokens: [2, 6] }]
    const trees = await propose(newDrafter(), updates)
    assert.deepEqual(
      trees.map(({ sequence, resend, tokens }) => [sequence, resend, tokens[0]]),
      [
        ['a', false, 5],
        ['b', true, undefined],
        ['s', false, 6],
      ],
    )
  })

  it('A1 answers more sequences in one message than it may hold', async () => {
    const drafter = newDrafter([parrot], { ...LIMITS, maxSequences: 1 })
    const trees = await propose(
      drafter,
      ['a', 'b', 'c'].map((sequence) => ({ sequence, tokens: [1, 2, 3, 9] })),
    )
    assert.equal(trees.length, 3)
    assert.deepEqual(trees[2]?.tokens, CHAIN.tokens)
  })

  it('drafts from tokens that came in pieces', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { tokens: [1, 2] })
    assert.deepEqual(await proposeOne(drafter, { from: 2, tokens: [3, 9] }), CHAIN)
  })

  it('A2 gives the same tree to a repeated and to an overlapping message', async () => {
    const drafter = newDrafter()
    for (const update of [
      { tokens: [1, 2, 3, 9] },
      { tokens: [1, 2, 3, 9] },
      { from: 2, tokens: [3, 9] },
      { from: 4, tokens: [] },
    ]) {
      assert.deepEqual(await proposeOne(drafter, update), CHAIN)
    }
  })

  it('A2 hands on each token once', async () => {
    const numNew: number[] = []
    const drafter = drafterHandlers(
      partsOf(
        recordingDrafting(({ numNew: count }) => numNew.push(count)),
        [],
      ),
    )
    for (const update of [{ tokens: [1, 2, 3] }, { tokens: [1, 2, 3] }, { from: 1, tokens: [2, 3, 4, 5] }]) {
      await proposeOne(drafter, update)
    }
    assert.deepEqual(numNew, [3, 0, 2])
  })

  it('asks for all tokens where it does not hold those before', async () => {
    assert.deepEqual(await proposeOne(newDrafter(), { from: 3, tokens: [1] }), NOTHING)
    assert.deepEqual(await proposeOne(newDrafter(), { from: 3, tokens: [1], start: startIn('') }), NOTHING)
  })

  it('asks for all tokens where it knows none and gets none', async () => {
    assert.deepEqual(await proposeOne(newDrafter(), { tokens: [] }), NOTHING)
  })

  it('asks for all tokens of a sequence of which it was not told how it is sampled', async () => {
    const drafter = newDrafter()
    assert.deepEqual(await proposeOne(drafter, { tokens: [1, 2, 3, 9], start: undefined }), NOTHING)
    assert.deepEqual(await proposeOne(drafter, { from: 4, tokens: [] }), NOTHING)
    assert.deepEqual(await proposeOne(drafter, { tokens: [1, 2, 3, 9] }), CHAIN)
  })

  it('asks for all tokens where new ones contradict what it holds, and believes what it then gets', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { tokens: [5, 5, 5] })
    assert.deepEqual(await proposeOne(drafter, { from: 1, tokens: [6, 1] }), NOTHING)
    assert.deepEqual(await proposeOne(drafter, { tokens: [1, 2, 3, 9] }), CHAIN)
  })

  it('believes a whole sequence that contradicts what it holds', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { tokens: [1, 5, 5] })
    assert.deepEqual(await proposeOne(drafter, { tokens: [1, 2, 3, 9] }), CHAIN)
  })

  it('keeps to its own bound on nodes and always gives the root', async () => {
    const drafter = newDrafter([parrot], { ...LIMITS, maxNodes: 3 })
    const sizes: number[] = []
    for (const maxNodes of [0, 2, 1000]) {
      sizes.push((await proposeOne(drafter, { tokens: [1, 2, 3, 9] }, maxNodes)).tokens.length)
    }
    assert.deepEqual(sizes, [1, 2, 3])
  })

  it('gives the root alone where it has no source', async () => {
    assert.deepEqual(await proposeOne(newDrafter([]), { tokens: [1, 2, 3, 9] }), { resend: false, tokens: [9] })
  })

  it('holds nothing of a forgotten sequence', async () => {
    const drafter = newDrafter()
    await proposeOne(drafter, { tokens: [1, 2, 3] })
    await forget(drafter, 's', 'unknown')
    assert.deepEqual(await proposeOne(drafter, { from: 3, tokens: [1] }), NOTHING)
  })

  for (const [bound, limits] of [
    ['sequences', { ...LIMITS, maxSequences: 2 }],
    ['tokens', { ...LIMITS, maxTokens: 8 }],
  ] as const) {
    it(`drops the least recently used sequence above its bound on ${bound}`, async () => {
      const drafter = newDrafter([parrot], limits)
      for (const sequence of ['s', 't']) await proposeOne(drafter, { sequence, tokens: [1, 2, 3] })
      await proposeOne(drafter, { from: 3, tokens: [1] })
      await proposeOne(drafter, { sequence: 'u', tokens: [1, 2, 3] })
      const trees = await propose(
        drafter,
        ['s', 't'].map((sequence) => ({ sequence, from: 3, tokens: [1] })),
      )
      assert.deepEqual(
        trees.map(({ sequence, resend }) => [sequence, resend]),
        [
          ['s', false],
          ['t', true],
        ],
      )
    })
  }

  it('names the sources of every node by the names that it sends along', async () => {
    const [left, right] = [scriptedSource('left', () => [7]), scriptedSource('right', () => [7, 8])]
    const [tree] = await propose(newDrafter([left, right]), [{ tokens: [5] }])
    assert.deepEqual(tree?.tokens, [5, 7, 8])
    assert.deepEqual(tree.sources, [[], ['left', 'right'], ['right']])
  })

  it('names a tensor of the wrong type', async () => {
    const wrong = { ...entryOf({ tokens: [] }), tokens: packF32(new Float32Array(0)) }
    await assert.rejects(
      ask(newDrafter(), [wrong]),
      (error) => error instanceof ClusterError && /tokens: want dtype i32/.test(error.message),
    )
  })
})

describe('drafterHandlers, what it knows of other sequences', () => {
  const TEXT = Array.from({ length: 40 }, (_, i) => i + 10)

  /** Nodes below the root for a sequence of a scope, after one of the scope `a` told it TEXT. */
  async function draftsIn(scope: string): Promise<number> {
    const drafter = newDrafter([createPromptLookup(), createSuffixSource(), createNgramSource()])
    await proposeOne(drafter, { sequence: 'past', tokens: TEXT, scope: 'a' })
    await forget(drafter, 'past')
    return (await proposeOne(drafter, { tokens: TEXT.slice(0, 12), scope })).tokens.length - 1
  }

  it('drafts from a text of the same scope', async () => assert.ok((await draftsIn('a')) > 0))
  it('drafts nothing from a text of another scope', async () => assert.equal(await draftsIn('b'), 0))
  it('drafts nothing from others for a sequence of no scope', async () => assert.equal(await draftsIn(''), 0))
})
