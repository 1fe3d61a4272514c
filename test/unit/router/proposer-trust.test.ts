// P2 of the proposer: what a drafter says is checked, and what breaks a rule is dropped.

import assert from 'node:assert/strict'
import { packF32, packI32 } from '../../../lib/wire/tensor.js'
import { chainEntry, decodingSequence, setUpProposer, type ProposerSetup, type TreeEntry } from './scripted-drafters.js'
import { createTestSequence, promptOf } from './sequences.js'

describe('proposer: does not trust a drafter (P2)', () => {
  let setup: ProposerSetup
  beforeEach(() => {
    setup = setUpProposer()
  })

  const proposedFor = async (fields: Partial<TreeEntry>, sequence = decodingSequence()) => {
    setup.startDrafter('d', ({ entries }) => entries.map((entry) => chainEntry(entry, fields)))
    return (await setup.propose(sequence)).proposals
  }
  const lies: Readonly<Record<string, Partial<TreeEntry>>> = {
    'a cycle': { parents: packI32([-1, 1]) },
    'another root': { tokens: packI32([49, 3]) },
    'a token out of the vocabulary': { tokens: packI32([5, 50]) },
    'a negative token': { tokens: packI32([5, -1]) },
    'twin children': { tokens: packI32([5, 3, 3]), parents: packI32([-1, 0, 0]) },
    'more nodes than were asked for': {
      tokens: packI32([5, 0, 1, 2, 3, 4, 6, 7, 8]),
      parents: packI32([-1, 0, 0, 0, 0, 0, 0, 0, 0]),
    },
    'tokens of another type': { tokens: packF32(Float32Array.of(5, 3)) },
    'fewer bytes than the shape says': { values: { dtype: 'f32', shape: [9], data: new Uint8Array(8) } },
    'no tree': { tokens: packI32([]), parents: packI32([]) },
    'another sequence': { sequence: 'somebody else' },
  }
  for (const [what, fields] of Object.entries(lies)) {
    it(`drops ${what}, and asks it again`, async () => {
      assert.deepEqual(await proposedFor(fields), [])
      assert.equal(setup.proposer.hasDrafter, true)
    })
  }

  it('takes the first of two entries for a sequence', async () => {
    setup.startDrafter('d', ({ entries }) => entries.flatMap((entry) => [chainEntry(entry), chainEntry(entry)]))
    assert.equal((await setup.propose(decodingSequence())).proposals.length, 1)
  })

  it('takes values as falling along a path, between 0 and 1, whatever they are', async () => {
    for (const [said, want] of [
      [
        [0, 2, 0.5, 0.9],
        [1, 1, 0.5, 0.5],
      ],
      [
        [NaN, NaN, 1, Infinity],
        [1, 0, 0, 0],
      ],
      [
        [1, -1, -Infinity, 0.5],
        [1, 0, 0, 0],
      ],
      [[1], [1, 0, 0, 0]],
    ] as const) {
      const chain = { tokens: packI32([5, 3, 4, 6]), parents: packI32([-1, 0, 1, 2]) }
      const [proposal] = await proposedFor({ ...chain, values: packF32(Float32Array.from(said)) })
      assert.deepEqual([...(proposal?.values ?? [])], want)
    }
  })

  it('takes a node of which no source is named', async () => {
    const [proposal] = await proposedFor({ sources: packI32([-1]) })
    assert.deepEqual(proposal?.sources, [['suffix', 'ngram'], []])
  })

  it('cuts a tree where the context or the request ends', async () => {
    const chain = { tokens: packI32([5, 3, 4, 6]), parents: packI32([-1, 0, 1, 2]) }
    const short = createTestSequence('short', promptOf(5), 2)
    short.base = 4
    assert.deepEqual((await proposedFor(chain, short))[0]?.tree.tokens.length, 3)
    const long = decodingSequence('long', 98)
    const root = long.tokens.at(-1) ?? 0
    const [proposal] = await proposedFor({ ...chain, tokens: packI32([root, 3, 4, 6]) }, long)
    assert.deepEqual(proposal?.tree.tokens.length, 3)
  })
})
