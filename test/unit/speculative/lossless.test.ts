// The oracle of sampler replay: with noise keyed by position, "the same distribution" becomes "the same tokens". A toy
// model whose logits depend on the whole prefix is decoded plainly and through arbitrary trees; the texts must be equal.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { SamplingParams } from '../../../lib/sampling/params.js'
import { createSampler, type Sampler } from '../../../lib/sampling/sampler.js'
import { ancestors, type TokenTree } from '../../../lib/speculative/token-tree.js'
import { verify } from '../../../services/router/verify.js'
import { NEUTRAL } from '../sampling/naive-sampler.js'
import { anyTree } from './draw-tree.js'

const VOCAB = 4
const END = 3
const MAX_OUTPUT = 24
const PROMPT = [0, 1]

/** Logits as a scrambled function of every token of the prefix. */
function toyLogits(prefix: readonly number[]): Float32Array {
  let state = 17
  for (const token of prefix) state = Math.imul(state ^ (token + 1), 0x9e3779b1) ^ (state >>> 15)
  return Float32Array.from({ length: VOCAB }, (_, token) => Math.sin(state * (token + 1)) * 2)
}

const isEnd = (token: number, numOutput: number, params: SamplingParams): boolean =>
  params.endTokenIds.includes(token) || numOutput >= MAX_OUTPUT

function decodePlainly(sampler: Sampler, params: SamplingParams): number[] {
  const tokens = [...PROMPT]
  for (;;) {
    const { token } = sampler.sample(toyLogits(tokens), { tokens, promptLength: PROMPT.length })
    tokens.push(token)
    if (isEnd(token, tokens.length - PROMPT.length, params)) return tokens
  }
}

type PathOf = (committed: readonly number[], path: readonly number[]) => readonly number[]
const wholePath: PathOf = (committed, path) => [...committed, ...path]

/** Decodes with a tree per step; `seen` says which tokens the sampler is told of at a node. */
function decodeThroughTrees(sampler: Sampler, params: SamplingParams, trees: readonly TokenTree[], seen = wholePath) {
  const tokens = [...PROMPT]
  for (let step = 0; ; step++) {
    const tree = withRoot(trees[step % trees.length]!, tokens[tokens.length - 1]!)
    const committed = tokens.slice(0, -1) // the root is the last of them, its row is part of the step
    const samples = Array.from(tree.tokens, (_, node) => {
      const path = ancestors(tree, node).map((at) => tree.tokens[at]!)
      const logits = toyLogits([...committed, ...path])
      return sampler.sample(logits, { tokens: seen(committed, path), promptLength: PROMPT.length }).token
    })
    const numBefore = tokens.length - PROMPT.length
    const { tokens: emitted } = verify(tree, samples, (token, count) => isEnd(token, numBefore + count, params))
    tokens.push(...emitted)
    if (isEnd(emitted[emitted.length - 1]!, tokens.length - PROMPT.length, params))
      return { tokens, numSteps: step + 1 }
  }
}

const withRoot = ({ tokens, parents }: TokenTree, root: number): TokenTree => ({
  tokens: Array.from(tokens).with(0, root),
  parents,
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
        assert.deepEqual(decodeThroughTrees(sampler, params, trees).tokens, decodePlainly(sampler, params))
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
    assert.equal(decodeThroughTrees(createSampler(params, 0), params, [full]).numSteps, MAX_OUTPUT / 3)
  })

  it('would be found out if penalties saw the committed tokens only', () => {
    const committedOnly: PathOf = (committed, path) => [...committed, path[0]!, ...path.slice(1).map(() => 0)]
    const differing = Array.from({ length: 50 }, (_, i) => ({
      ...NEUTRAL,
      frequencyPenalty: 1,
      seed: BigInt(i),
    })).filter((params) => {
      const sampler = createSampler(params, 0)
      const wrong = decodeThroughTrees(sampler, params, [full], committedOnly).tokens
      return wrong.join() !== decodePlainly(sampler, params).join()
    })
    assert.ok(differing.length > 10, `${differing.length} of 50 texts differ`)
  })
})
