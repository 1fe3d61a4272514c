// Decides whether a drafter ranks tokens as the sampler will choose them, if its logits are the target's.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { noiseKey } from '../../../lib/sampling/noise.js'
import type { SamplingParams } from '../../../lib/sampling/params.js'
import { createSampler } from '../../../lib/sampling/sampler.js'
import { createRanker, type Ranked } from '../../../services/drafter/ranker.js'
import { createRandom } from '../../helpers/random.js'
import { NEUTRAL } from '../sampling/naive-sampler.js'

const VOCAB = 500
const NUM_DRAWS = 400
const MIN_AGREEMENT = 0.95
const PROMPT = [5, 17, 3, 5, 40]

const GREEDY: SamplingParams = { ...NEUTRAL, temperature: 0 }

/** Logits as peaked as a language model's: some tokens stand out, most lie far below. */
function drawLogits(seed: number): Float32Array {
  const random = createRandom(seed)
  return Float32Array.from({ length: VOCAB }, () => 4 * Math.log(random() / random()))
}

const rankerOf = (params: SamplingParams, isShared: boolean) =>
  createRanker(params, { choice: 0, promptLength: PROMPT.length, isShared })

function softmaxOf(logits: Float32Array, temperature: number): Ranked[] {
  const best = Math.max(...logits)
  const exps = Array.from(logits, (logit) => Math.exp((logit - best) / temperature))
  const total = exps.reduce((sum, value) => sum + value, 0)
  return exps
    .map((value, token) => ({ token, probability: value / total }))
    .sort((a, b) => logits[b.token]! - logits[a.token]! || a.token - b.token)
}

function isClose(ranked: readonly Ranked[], wanted: readonly Ranked[]): void {
  assert.deepEqual(
    ranked.map(({ token }) => token),
    wanted.map(({ token }) => token),
  )
  ranked.forEach(({ token, probability }, i) => {
    const exact = wanted[i]!.probability
    assert.ok(Math.abs(probability / exact - 1) < 0.03, `token ${token}: ${probability}, exactly ${exact}`)
  })
}

const anySeed = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const COMMITTED = Int32Array.from([...PROMPT, 8, 9, 8])

/** Share of draws in which the first of the ranking is what the sampler takes. */
function agreement(params: SamplingParams): number {
  let numRight = 0
  for (let draw = 0; draw < NUM_DRAWS; draw++) {
    const seeded = { ...params, seed: BigInt(draw) * 7919n + 1n }
    const logits = drawLogits(draw)
    const [first] = rankerOf(seeded, true).rankLogits(logits, COMMITTED, COMMITTED.length, 4)
    const context = { tokens: COMMITTED, promptLength: PROMPT.length }
    if (createSampler(seeded, 0).sample(logits, context).token === first?.token) numRight += 1
  }
  return numRight / NUM_DRAWS
}

describe('Ranker.rankLogits', () => {
  it('has the order and the probabilities of softmax for a greedy sequence', () => {
    fc.assert(
      fc.property(anySeed, fc.integer({ min: 1, max: 20 }), (seed, k) => {
        const logits = drawLogits(seed)
        isClose(rankerOf(GREEDY, true).rankLogits(logits, COMMITTED, 9, k), softmaxOf(logits, 1).slice(0, k))
      }),
    )
  })

  it('has them at a temperature without shared noise', () => {
    fc.assert(
      fc.property(anySeed, fc.double({ min: 0.3, max: 2, noNaN: true }), (seed, temperature) => {
        const logits = drawLogits(seed)
        const ranked = rankerOf({ ...NEUTRAL, temperature }, false).rankLogits(logits, COMMITTED, 9, 6)
        isClose(ranked, softmaxOf(logits, temperature).slice(0, 6))
      }),
    )
  })

  it('ranks the same at every position without shared noise', () => {
    const logits = drawLogits(1)
    const ranker = rankerOf({ ...NEUTRAL, seed: 3n }, false)
    assert.deepEqual(ranker.rankLogits(logits, COMMITTED, 9, 6), ranker.rankLogits(logits, COMMITTED, 10, 6))
  })

  it('gives probabilities at any temperature', () => {
    fc.assert(
      fc.property(
        anySeed,
        fc.double({ min: 0.001, max: 5, noNaN: true }),
        fc.boolean(),
        (seed, temperature, isShared) => {
          const ranked = rankerOf({ ...NEUTRAL, temperature }, isShared).rankLogits(drawLogits(seed), COMMITTED, 9, 6)
          const sum = ranked.reduce((all, { probability }) => all + probability, 0)
          assert.ok(ranked.every(({ probability }) => probability >= 0))
          assert.ok(sum > 0 && sum <= 1 + 1e-9, `${sum} in all`)
        },
      ),
    )
  })

  for (const [title, params] of [
    ['nothing but temperature 1', {}],
    ['a low temperature', { temperature: 0.3 }],
    ['top-k', { topK: 20 }],
    ['top-p', { topP: 0.9 }],
    ['top-k and top-p', { topK: 10, topP: 0.8 }],
    ['min-p', { minP: 0.05 }],
    ['a repetition penalty', { repetitionPenalty: 1.5 }],
    ['presence and frequency penalties', { presencePenalty: 1, frequencyPenalty: 0.5 }],
    ['a bias against tokens', { logitBias: Array.from({ length: 20 }, (_, i) => [i * 25, -100] as const) }],
    ['a bias for a token', { logitBias: [[123, 12]] }],
    ['ends banned', { minTokens: 9, endTokenIds: Array.from({ length: 20 }, (_, i) => i * 25) }],
    ['ends banned and top-k', { minTokens: 9, endTokenIds: Array.from({ length: 100 }, (_, i) => i * 5), topK: 3 }],
    ['a penalty and top-p', { repetitionPenalty: 1.5, topP: 0.9 }],
    ['a greedy choice with penalties', { temperature: 0, repetitionPenalty: 2, presencePenalty: 2 }],
    ['everything', { temperature: 0.7, topK: 40, topP: 0.9, minP: 0.02, repetitionPenalty: 1.1, presencePenalty: 0.3 }],
  ] satisfies [string, Partial<SamplingParams>][]) {
    it(`puts first what the sampler takes with ${title}`, () => {
      const rate = agreement({ ...NEUTRAL, ...params })
      assert.ok(rate >= MIN_AGREEMENT, `${rate} of ${NUM_DRAWS} draws`)
    })
  }

  const FEW = 12
  const anyFew = fc.array(fc.integer({ min: -48, max: 48 }), { minLength: FEW, maxLength: FEW }) // sixteenths: ties, but no near ones

  it('always puts it first where there are few tokens', () => {
    const anyParams = fc.record({
      temperature: fc.constantFrom(0.4, 1, 1.7),
      repetitionPenalty: fc.constantFrom(1, 1.4),
      presencePenalty: fc.constantFrom(0, 0.7),
      logitBias: fc.constantFrom<SamplingParams['logitBias']>([], [[3, 2]], [[0, -100]]),
      minTokens: fc.constantFrom(0, 9),
      endTokenIds: fc.constantFrom([], [1], [1, 4]),
      topK: fc.constantFrom(0, 1, 3),
      topP: fc.constantFrom(1, 0.93, 0.61),
      minP: fc.constantFrom(0, 0.1),
      seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    })
    const anyCommitted = fc.array(fc.nat({ max: FEW - 1 }), { minLength: PROMPT.length, maxLength: 12 })
    fc.assert(
      fc.property(anyFew, anyParams, anyCommitted, (values, some, tokens) => {
        const [logits, params] = [Float32Array.from(values, (value) => value / 16), { ...NEUTRAL, ...some }]
        const committed = Int32Array.from(tokens)
        const [first] = rankerOf(params, true).rankLogits(logits, committed, committed.length, 3)
        const context = { tokens: committed, promptLength: PROMPT.length }
        assert.equal(first?.token, createSampler(params, 0).sample(logits, context).token)
      }),
    )
  })

  it('ranks no token that cannot be sampled, and none where all are such', () => {
    const logits = Float32Array.of(3, 2, 1)
    for (const isShared of [true, false]) {
      const banned = (endTokenIds: readonly number[]) =>
        rankerOf({ ...NEUTRAL, minTokens: 9, endTokenIds }, isShared).rankLogits(logits, COMMITTED, 9, 3)
      assert.deepEqual(new Set(banned([0]).map(({ token }) => token)), new Set([1, 2]))
      assert.deepEqual(banned([0, 1, 2]), [])
    }
  })

  it('draws with the noise of its choice', () => {
    const params = { ...NEUTRAL, seed: 5n }
    const logits = new Float32Array(8)
    const firsts = [0, 1, 2].map((choice) => {
      const ranker = createRanker(params, { choice, promptLength: 0, isShared: true })
      return Array.from({ length: 20 }, (_, at) => ranker.rankLogits(logits, COMMITTED, at, 1)[0]?.token)
    })
    const samples = [0, 1, 2].map((choice) => {
      const sampler = createSampler(params, choice)
      const contexts = Array.from({ length: 20 }, (_, at) => ({ tokens: new Int32Array(at), promptLength: 0 }))
      return contexts.map((context) => sampler.sample(logits, context).token)
    })
    assert.deepEqual(firsts, samples)
  })
})

describe('Ranker.rankWeights', () => {
  const anyWeights = fc
    .uniqueArray(fc.tuple(fc.nat({ max: 999 }), fc.double({ min: 0.01, max: 50, noNaN: true })), {
      minLength: 1,
      maxLength: 12,
      selector: ([token]) => token,
    })
    .map((pairs) => ({ tokens: pairs.map(([token]) => token), weights: pairs.map(([, weight]) => weight) }))

  it('gives shares, the largest first, without noise', () => {
    fc.assert(
      fc.property(anyWeights, fc.constantFrom(GREEDY, { ...NEUTRAL, seed: 9n }), ({ tokens, weights }, params) => {
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        const wanted = tokens
          .map((token, i) => ({ token, probability: weights[i]! / total }))
          .sort((a, b) => b.probability - a.probability || a.token - b.token)
        const ranked = rankerOf(params, false).rankWeights(tokens, weights, 9, tokens.length)
        ranked.forEach(({ probability }, i) => assert.ok(Math.abs(probability - wanted[i]!.probability) < 1e-9))
      }),
    )
  })

  it('puts first the one that the noise of the position chooses', () => {
    fc.assert(
      fc.property(anyWeights, fc.nat({ max: 1000 }), ({ tokens, weights }, position) => {
        const noise = noiseKey(9n, 0)
        const perturbed = tokens.map((token, i) => Math.log(weights[i]!) + noise.gumbel(position, token))
        const wanted = tokens[perturbed.indexOf(Math.max(...perturbed))]
        const [first] = rankerOf({ ...NEUTRAL, seed: 9n }, true).rankWeights(tokens, weights, position, 1)
        assert.equal(first?.token, wanted)
      }),
    )
  })
})
