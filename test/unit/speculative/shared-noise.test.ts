// A drafter that perturbs its guess with the target's own noise, against one that drafts its best tokens. The text is
// the same either way; only how often a draft is right differs.

import assert from 'node:assert/strict'
import { noiseKey } from '../../../lib/sampling/noise.js'
import { createSampler } from '../../../lib/sampling/sampler.js'
import type { TokenTree } from '../../../lib/speculative/token-tree.js'
import { createRanker } from '../../../services/drafter/ranker.js'
import { NEUTRAL } from '../sampling/naive-sampler.js'
import { decodePlainly, decodeThroughTrees, replayWith, type Decoding } from './decode-through-trees.js'

const VOCAB = 300
const MAX_OUTPUT = 100
const NUM_SEEDS = 10
const TOKENS = Array.from({ length: VOCAB }, (_, token) => token)

/** Standard normal values, one per place: Box and Muller's, from noise that the sampler does not use. */
function normals(seed: bigint, place: number): number[] {
  const [radii, angles] = [noiseKey(seed, 1), noiseKey(seed, 2)]
  return TOKENS.map(
    (token) =>
      Math.sqrt(-2 * Math.log(radii.uniform(place, token))) * Math.cos(2 * Math.PI * angles.uniform(place, token)),
  )
}

interface Rows {
  readonly target: Float32Array
  readonly draft: Float32Array
}

/** Logits that fall as in natural text and depend on the last token; the drafter's are off by `error` (deviation). */
function createLanguage(seed: bigint, error: number): (last: number) => Rows {
  const known = new Map<number, Rows>()
  const makeRows = (last: number): Rows => {
    const [spread, errors] = [normals(seed, last), normals(seed + 1000n, last)]
    const rank = (token: number): number => (token * 7 + last * 31) % VOCAB
    const target = Float32Array.from(TOKENS, (token) => -2.2 * Math.log(rank(token) + 1) + 0.7 * spread[token]!)
    return { target, draft: target.map((logit, token) => logit + error * errors[token]!) }
  }
  return (last) => {
    const rows = known.get(last) ?? makeRows(last)
    known.set(last, rows)
    return rows
  }
}

interface Drafting {
  readonly numDrafts: number // in every step, below the root
  readonly error: number
  readonly isShared: boolean
}

/** One text; `rate` is the share of steps in which a draft was right. */
function decodeWithDrafts(seed: bigint, { numDrafts, error, isShared }: Drafting) {
  const after = createLanguage(seed, error)
  const params = { ...NEUTRAL, seed }
  const sampler = createSampler(params, 0)
  const decoding: Decoding = {
    prompt: [0, 1],
    logits: (prefix) => after(prefix[prefix.length - 1]!).target,
    isEnd: (_token, numOutput) => numOutput >= MAX_OUTPUT,
  }
  const ranker = createRanker(params, { choice: 0, promptLength: decoding.prompt.length, isShared })
  const draft = (tokens: readonly number[]): TokenTree => {
    const last = tokens[tokens.length - 1]!
    const ranked = ranker.rankLogits(after(last).draft, Int32Array.from(tokens), tokens.length, numDrafts)
    return { tokens: [last, ...ranked.map(({ token }) => token)], parents: [-1, ...ranked.map(() => 0)] }
  }
  const { tokens, numSteps } = decodeThroughTrees(replayWith(sampler), draft, decoding)
  assert.deepEqual(tokens, decodePlainly(sampler, decoding))
  return { rate: MAX_OUTPUT / numSteps - 1 }
}

/** Over all seeds, each of which must give the text of plain decoding. */
function meanRate(drafting: Drafting): number {
  const rates = Array.from({ length: NUM_SEEDS }, (_, seed) => decodeWithDrafts(BigInt(seed), drafting).rate)
  return rates.reduce((sum, rate) => sum + rate, 0) / NUM_SEEDS
}

describe('drafting with shared noise', () => {
  for (const error of [0.5, 1]) {
    for (const numDrafts of [1, 2, 4]) {
      it(`is right more often than the best tokens, changing none: ${numDrafts} drafts, logits off by ${error}`, () => {
        const shared = meanRate({ numDrafts, error, isShared: true })
        const best = meanRate({ numDrafts, error, isShared: false })
        assert.ok(shared > best + 0.05, `${shared} with shared noise, ${best} with the best tokens`)
      })
    }
  }

  it('is right nearly always where the drafter has the logits of the target', () => {
    const rate = meanRate({ numDrafts: 1, error: 0, isShared: true })
    assert.ok(rate > 0.98, `right in ${rate} of the steps`) // a ranking leaves out the tail of the vocabulary
  })
})
