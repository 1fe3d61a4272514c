import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { SamplingParams } from '../../../lib/sampling/params.js'
import { createSampler } from '../../../lib/sampling/sampler.js'
import { MEDUSA_THRESHOLDS, takeTypical } from '../../../lib/sampling/typical.js'
import { verifyTypical } from '../../../services/router/verify.js'
import { NEUTRAL } from '../sampling/naive-sampler.js'
import {
  decodePlainly,
  decodeThroughTrees,
  draftInTurn,
  samplesOf,
  scrambledLogits,
  type Decoding,
  type Judge,
} from './decode-through-trees.js'
import { anyTree } from './draw-tree.js'
import { childrenOf } from './toy-drafts.js'

const VOCAB = 4
const MAX_OUTPUT = 24

const decodingOf = ({ endTokenIds }: SamplingParams): Decoding => ({
  prompt: [0, 1],
  logits: (prefix) => scrambledLogits(prefix, VOCAB),
  isEnd: (token, numOutput) => endTokenIds.includes(token) || numOutput >= MAX_OUTPUT,
})

const judgeTypically =
  (params: SamplingParams): Judge =>
  (tree, rows, isEnd) => {
    const takes = new Uint8Array(rows.length)
    rows.forEach(({ logits, context }, node) => {
      const children = childrenOf(tree, node)
      const tokens = children.map((child) => tree.tokens[child]!)
      const taken = takeTypical(logits, tokens, { ...MEDUSA_THRESHOLDS, params, context })
      children.forEach((child, i) => (takes[child] = taken[i]!))
    })
    return verifyTypical(tree, samplesOf(createSampler(params, 0), rows), takes, isEnd)
  }

const anyTrees = fc.array(anyTree({ maxNodes: 24, vocabSize: VOCAB }), { minLength: 1, maxLength: 4 })

describe('typical acceptance over the sampler', () => {
  it('emits the greedy text at temperature 0, for every tree', () => {
    const anyGreedy = fc.record({
      repetitionPenalty: fc.constantFrom(1, 1.5),
      frequencyPenalty: fc.constantFrom(0, 0.5),
      endTokenIds: fc.constantFrom([], [3]),
      minTokens: fc.constantFrom(0, 6),
    })
    fc.assert(
      fc.property(anyGreedy, anyTrees, (drawn, trees) => {
        const params = { ...NEUTRAL, ...drawn, temperature: 0 }
        const { tokens } = decodeThroughTrees(judgeTypically(params), draftInTurn(trees), decodingOf(params))
        assert.deepEqual(tokens, decodePlainly(createSampler(params, 0), decodingOf(params)))
      }),
      { numRuns: 300 },
    )
  })

  it('emits the plain text where nothing is drafted', () => {
    const params = { ...NEUTRAL, seed: 3n }
    const rootOnly = draftInTurn([{ tokens: [0], parents: [-1] }])
    const { tokens } = decodeThroughTrees(judgeTypically(params), rootOnly, decodingOf(params))
    assert.deepEqual(tokens, decodePlainly(createSampler(params, 0), decodingOf(params)))
  })
})
