// Decides whether the Medusa heads compute what their formulae say, and what tree comes of their guesses.

import assert from 'node:assert/strict'
import { CandidateTree } from '../../../services/drafter/candidate-tree.js'
import { createMedusa, type HeadDraft, type Medusa } from '../../../services/drafter/medusa.js'
import type { Ranker } from '../../../services/drafter/ranker.js'
import { COMPUTE, demoTensors, drawRows, openDemo, openDemoHead } from './demo-heads.js'
import { AS_IS, sequenceOf } from './drafting.js'
import { medusaLogits, relativeError } from './reference-heads.js'
import { GREEDY } from './scripted.js'

const TOLERANCE = 1e-4
const SOURCE = 2
const NUM_HEADS = 4

interface Asked {
  readonly logits: Float32Array
  readonly position: number
}

describe('createMedusa', () => {
  const checkpoint = openDemo()
  const { hidden: width } = checkpoint.spec
  const get = demoTensors('medusa')
  let medusa: Medusa

  before(() => {
    const file = openDemoHead('medusa')
    medusa = createMedusa(checkpoint, file, COMPUTE)
    file.close()
  })
  after(() => {
    medusa.dispose()
    checkpoint.close()
  })

  /** A draft of a sequence of `length` tokens that keeps what its ranker is asked. */
  function drawDraft(seed: number, length: number, base: Ranker = GREEDY): HeadDraft & { asked: Asked[] } {
    const asked: Asked[] = []
    const ranker: Ranker = {
      ...GREEDY,
      rankLogits: (logits, committed, position, k) => {
        asked.push({ logits: logits.slice(), position })
        return base.rankLogits(logits, committed, position, k)
      },
    }
    const sequence = sequenceOf(new Int32Array(length).fill(5), { id: `s${seed}`, ranker })
    return { sequence, tree: new CandidateTree(5, AS_IS, 256), hidden: drawRows(seed, 1, width), asked }
  }

  it('has the heads of the file', () => assert.equal(medusa.numHeads, NUM_HEADS))

  it('guesses with every head from the hidden state, for several sequences in one call', () => {
    const drafts = [1, 2, 3].map((seed) => drawDraft(seed, seed + 4))
    medusa.propose(drafts, SOURCE)
    for (const { asked, hidden } of drafts) {
      assert.equal(asked.length, NUM_HEADS)
      asked.forEach(({ logits }, k) => {
        const error = relativeError(logits, medusaLogits(get, k, hidden))
        assert.ok(error < TOLERANCE, `head ${k} is off by ${error}`)
      })
    }
  })

  it('M1 ranks the guess of head k for the place k + 1 after the root', () => {
    const draft = drawDraft(1, 9) // the root is at index 8
    medusa.propose([draft], SOURCE)
    assert.deepEqual(
      draft.asked.map(({ position }) => position),
      [9, 10, 11, 12],
    )
  })

  it('proposes what its heads rank, each at its own depth', () => {
    const draft = drawDraft(4, 6)
    medusa.propose([draft], SOURCE)
    const { tree, asked } = draft
    const best = asked.map(({ logits }) => GREEDY.rankLogits(logits, draft.sequence.committed, 0, 64))
    assert.ok(tree.size > 1)
    for (let node = 1; node < tree.size; node++) {
      const ranked = best[tree.depths[node]! - 1]?.find(({ token }) => token === tree.tokens[node])
      assert.ok(Math.abs(tree.rawOf(node, SOURCE)! - (ranked?.probability ?? 0)) < 1e-3)
    }
  })

  it('goes deep where its heads are sure, and proposes the most probable of each level first', () => {
    const ranked = [
      { token: 1, probability: 0.8 },
      { token: 2, probability: 0.15 },
    ]
    const draft = drawDraft(5, 6, { ...GREEDY, rankLogits: () => ranked })
    medusa.propose([draft], SOURCE)
    const chain = [1, 1, 1, 1].reduce<number | undefined>(
      (node, token) => (node === undefined ? node : draft.tree.child(node, token)),
      0,
    )
    assert.ok(chain !== undefined && draft.tree.depths[chain] === NUM_HEADS)
    assert.ok(draft.tree.child(0, 2) !== undefined)
  })

  it('adds to what other sources proposed', () => {
    const draft = drawDraft(6, 6, { ...GREEDY, rankLogits: () => [{ token: 1, probability: 0.8 }] })
    draft.tree.add(0, 1, 0, 0.5)
    medusa.propose([draft], SOURCE)
    assert.equal(draft.tree.sources[1], (1 << SOURCE) | 1)
  })
})
