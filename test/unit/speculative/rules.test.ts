// The oracle of verification: the exact distribution of what a rule emits, continued by plain sampling, against plain
// sampling alone. It must find every lossless rule lossless and every other one out.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { TokenTree } from '../../../lib/speculative/token-tree.js'
import { anyTree } from './draw-tree.js'
import { byDepth, likeliest, likelihood, sampledTrees, topTree, type Drafted } from './toy-drafts.js'
import { END, ending, extended, toyModel, totalVariation, type Distribution } from './toy-models.js'
import {
  emittedBy,
  independentRejection,
  recursiveRejection,
  replay,
  replayUntil,
  scaledRejection,
  traversal,
  typical,
  zeroOut,
  type Models,
  type Rule,
} from './toy-rules.js'

const LENGTH = 4 // of the texts that are compared: longer than any step emits
const EXACT = 1e-12
const PAIRS: readonly Models[] = Array.from({ length: 25 }, (_, i) => ({
  target: toyModel(7 * i + 1),
  draft: toyModel(13 * i + 505),
}))

type Drafting = (models: Models) => Iterable<Drafted>
const always = (tree: TokenTree): Drafted[] => [{ tree, probability: 1 }]

const topTwoByTwo: Drafting = ({ draft }) => always(topTree(draft, [2, 2]))
const sampledChain: Drafting = ({ draft }) => sampledTrees({ draft, numChildren: byDepth(1, 1, 1) })
const sampledTwoByTwo: Drafting = ({ draft }) => sampledTrees({ draft, numChildren: byDepth(2, 2) })
const twoIndependent: Drafting = ({ draft }) => sampledTrees({ draft, numChildren: byDepth(2), isReplaced: true })
/** Children below likely nodes only: known before those children are drawn. */
const shapedBeforehand: Drafting = ({ draft }) =>
  sampledTrees({ draft, numChildren: (path) => (path.length < 2 && likelihood(draft, path) >= 0.3 ? 2 : 0) })
/** The likeliest three of the nodes that were drawn: known only from their tokens. */
const prunedAfterwards: Drafting = (models) =>
  Array.from(sampledTwoByTwo(models), (drafted) => likeliest(drafted, models.draft, 3))

function distanceToTarget(emitted: Distribution, { target }: Models): number {
  return totalVariation(extended(emitted, target, LENGTH), extended(new Map([['', 1]]), target, LENGTH))
}

const largestDistance = (rule: Rule, drafting: Drafting): number =>
  Math.max(...PAIRS.map((models) => distanceToTarget(emittedBy(rule, drafting(models), models), models)))

/** Mean over the pairs of the number of tokens that a step emits. */
function tokensPerStep(rule: Rule, drafting: Drafting): number {
  const lengths = PAIRS.map((models) =>
    Array.from(emittedBy(rule, drafting(models), models)).reduce((sum, [text, share]) => sum + text.length * share, 0),
  )
  return lengths.reduce((sum, length) => sum + length, 0) / lengths.length
}

describe('verification rules', () => {
  const lossless = (rule: Rule, drafts: Readonly<Record<string, Drafting>>): void => {
    for (const [name, drafting] of Object.entries(drafts)) {
      it(`is lossless over ${name}`, () => {
        const distance = largestDistance(rule, drafting)
        assert.ok(distance <= EXACT, `total variation ${distance}`)
      })
    }
  }
  const lossy = (rule: Rule, drafts: Readonly<Record<string, Drafting>>): void => {
    for (const [name, drafting] of Object.entries(drafts)) {
      it(`is found to be lossy over ${name}`, () => {
        const distance = largestDistance(rule, drafting)
        assert.ok(distance > 0.05, `total variation ${distance}`)
      })
    }
  }

  describe('sampler replay, the product', () => {
    lossless(replay, {
      'the best 2 x 2 tokens': topTwoByTwo,
      'a sampled chain': sampledChain,
      'sampled trees pruned by their tokens': prunedAfterwards,
    })

    it('is lossless over any tree', () => {
      fc.assert(
        fc.property(anyTree({ maxNodes: 7, vocabSize: 3 }), fc.constantFrom(...PAIRS), (tree, models) => {
          assert.ok(distanceToTarget(emittedBy(replay, always(tree), models), models) <= EXACT)
        }),
      )
    })

    it('is lossless where texts end inside the tree', () => {
      fc.assert(
        fc.property(anyTree({ maxNodes: 7, vocabSize: 3 }), fc.constantFrom(...PAIRS), (tree, pair) => {
          const models = { ...pair, target: ending(pair.target) }
          const emitted = emittedBy(
            replayUntil((token) => token === END),
            always(tree),
            { ...models, target: pair.target },
          )
          assert.ok(distanceToTarget(emitted, models) <= EXACT)
        }),
      )
    })
  })

  describe('zeroing out refused children', () => {
    lossless(zeroOut, { 'the best 2 x 2 tokens': topTwoByTwo })

    it('emits what replay emits', () => {
      for (const models of PAIRS) {
        const [a, b] = [zeroOut, replay].map((rule) => emittedBy(rule, topTwoByTwo(models), models))
        assert.ok(totalVariation(a!, b!) <= EXACT)
      }
    })
  })

  describe('recursive rejection', () => {
    lossless(recursiveRejection, {
      'a sampled chain': sampledChain,
      'children sampled without replacement': sampledTwoByTwo,
      'a shape that is fixed before each draw': shapedBeforehand,
    })
    lossy(recursiveRejection, { 'sampled trees pruned by their tokens': prunedAfterwards })
  })

  describe('rejection of independent children', () => {
    lossless(independentRejection, { 'two of them (MSS)': twoIndependent })
    lossy(independentRejection, { 'the best 2 x 2 tokens, as if they were sampled': topTwoByTwo })
  })

  describe('rejection at one scale (K-SEQ)', () => {
    lossless(scaledRejection, { 'two independent children': twoIndependent })
  })

  describe('verification from the leaves', () => {
    lossless(traversal, {
      'a sampled chain (block verification)': sampledChain,
      'children sampled without replacement': sampledTwoByTwo,
    })

    it('emits more tokens than rejection from the root', () => {
      for (const drafting of [sampledChain, sampledTwoByTwo]) {
        const [fromLeaves, fromRoot] = [tokensPerStep(traversal, drafting), tokensPerStep(recursiveRejection, drafting)]
        assert.ok(fromLeaves > fromRoot, `${fromLeaves} and ${fromRoot} tokens`)
      }
    })
  })

  describe('typical acceptance, the product', () => {
    lossy(typical, { 'the best 2 x 2 tokens': topTwoByTwo })

    it('emits more tokens than replay', () => {
      const [lossyTokens, exactTokens] = [tokensPerStep(typical, topTwoByTwo), tokensPerStep(replay, topTwoByTwo)]
      assert.ok(lossyTokens > exactTokens, `${lossyTokens} and ${exactTokens} tokens`)
    })
  })
})
