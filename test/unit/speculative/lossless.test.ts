// The oracle of sampler replay: with noise keyed by position, "the same distribution" becomes "the same tokens". A toy
// model whose logits depend on the whole prefix is decoded plainly and through arbitrary trees; the texts must be equal.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { SamplingParams } from '../../../lib/sampling/params.js'
import { createSampler } from '../../../lib/sampling/sampler.js'
import type { TokenTree } from '../../../lib/speculative/token-tree.js'
import { NEUTRAL } from '../sampling/naive-sampler.js'
import {
  decodePlainly,
  decodeThroughTrees,
  draftInTurn,
  replayWith,
  scrambledLogits,
  type Decoding,
  type Judge,
} from './decode-through-trees.js'
import { anyTree } from './draw-tree.js'

const VOCAB = 4
const END = 3
const MAX_OUTPUT = 24

const decodingOf = ({ endTokenIds }: SamplingParams): Decoding => ({
  prompt: [0, 1],
  logits: (prefix) => scrambledLogits(prefix, VOCAB),
  isEnd: (token, numOutput) => endTokenIds.includes(token) || numOutput >= MAX_OUTPUT,
})

const anyParams: fc.Arbitrary<SamplingParams> = fc.record({
  temperature: fc.constantFrom(0, 0.5, 1, 1.5),
  topP: fc.constantFrom(1, 0.9, 0.5),
  topK: fc.constantFrom(0, 2, 3),
  minP: fc.constantFrom(0, 0.1),
  repetitionPenalty: fc.constantFrom(1, 1.5),
  presencePenalty: fc.constantFrom(0, 0.8),
  frequencyPenalty: fc.constantFrom(0, 0.5),
  logitBias: fc.constantFrom([], [[1, 0.5] as const]),
  minTokens: fc.constantFrom(0, 6),
  endTokenIds: fc.constantFrom([], [END]),
  seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  logprobs: fc.constant(-1),
})
const anyTrees = fc.array(anyTree({ maxNodes: 24, vocabSize: VOCAB }), { minLength: 1, maxLength: 4 })

describe('verify over the sampler', () => {
  it('emits the tokens of plain decoding, for every tree, seed and parameter', () => {
    fc.assert(
      fc.property(anyParams, fc.nat(3), anyTrees, (params, choice, trees) => {
        const sampler = createSampler(params, choice)
        const decoding = decodingOf(params)
        const { tokens } = decodeThroughTrees(replayWith(sampler), draftInTurn(trees), decoding)
        assert.deepEqual(tokens, decodePlainly(sampler, decoding))
      }),
      { numRuns: 500 },
    )
  })

  //          0
  //   1   2     3     and the same again below each of them
  const full: TokenTree = {
    tokens: [0, ...Array.from({ length: 20 }, (_, i) => i % VOCAB)],
    parents: [-1, 0, 0, 0, 0, ...Array.from({ length: 16 }, (_, i) => 1 + (i >> 2))],
  }

  it('accepts two drafted tokens in every step where the tree holds all continuations', () => {
    const params = { ...NEUTRAL, seed: 5n }
    const judge = replayWith(createSampler(params, 0))
    assert.equal(decodeThroughTrees(judge, draftInTurn([full]), decodingOf(params)).numSteps, MAX_OUTPUT / 3)
  })

  it('would be found out if penalties saw the committed tokens only', () => {
    const seeingCommitted =
      (judge: Judge): Judge =>
      (tree, rows, isEnd) => {
        const numCommitted = rows[0]!.context.tokens.length
        const blind = rows.map(({ logits, context: { tokens, promptLength } }) => ({
          logits,
          context: { tokens: tokens.map((token, i) => (i < numCommitted ? token : 0)), promptLength },
        }))
        return judge(tree, blind, isEnd)
      }
    const differing = Array.from({ length: 50 }, (_, i) => ({
      ...NEUTRAL,
      frequencyPenalty: 1,
      seed: BigInt(i),
    })).filter((params) => {
      const sampler = createSampler(params, 0)
      const decoding = decodingOf(params)
      const wrong = decodeThroughTrees(seeingCommitted(replayWith(sampler)), draftInTurn([full]), decoding).tokens
      return wrong.join() !== decodePlainly(sampler, decoding).join()
    })
    assert.ok(differing.length > 10, `${differing.length} of 50 texts differ`)
  })
})
