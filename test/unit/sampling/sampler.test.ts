import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import type { SamplingParams } from '../../../lib/sampling/params.js'
import { createSampler } from '../../../lib/sampling/sampler.js'
import { naiveSample, NEUTRAL } from './naive-sampler.js'

const GREEDY: SamplingParams = { ...NEUTRAL, temperature: 0 }
const EMPTY = { tokens: [], promptLength: 0 }

const sampleWith = (params: Partial<SamplingParams>, logits: readonly number[], context = EMPTY as Context): number =>
  createSampler({ ...GREEDY, ...params }, 0).sample(Float32Array.from(logits), context).token

interface Context {
  readonly tokens: readonly number[]
  readonly promptLength: number
}

/** Every token that some position draws. */
function support(params: Partial<SamplingParams>, logits: readonly number[]): number[] {
  const sampler = createSampler({ ...NEUTRAL, ...params }, 0)
  const row = Float32Array.from(logits)
  const drawn = Array.from({ length: 2000 }, (_, i) =>
    sampler.sample(row, { tokens: new Int32Array(i), promptLength: i }),
  )
  return [...new Set(drawn.map(({ token }) => token))].sort((a, b) => a - b)
}

const isInternal =
  (pattern: RegExp) =>
  (error: unknown): boolean =>
    error instanceof ClusterError && error.code === 'internal' && pattern.test(error.message)

describe('createSampler', () => {
  describe('against its definition', () => {
    const vocabSize = fc.integer({ min: 1, max: 300 })
    const logitRow = (size: number): fc.Arbitrary<Float32Array> => {
      const smooth = fc.float({ min: -20, max: 20, noNaN: true })
      const tied = fc.integer({ min: -3, max: 3 })
      const value = fc.oneof({ weight: 4, arbitrary: smooth }, { weight: 3, arbitrary: tied }, fc.constant(-Infinity))
      return fc
        .tuple(fc.array(value, { minLength: size, maxLength: size }), fc.nat(size - 1))
        .map(([values, finite]) => Float32Array.from(values.with(finite, 0)))
    }
    const paramsOf = (size: number): fc.Arbitrary<SamplingParams> => {
      const token = fc.nat(size - 1)
      const penalty = fc.constantFrom(0, 0, -1.5, 0.4, 2)
      return fc.record({
        temperature: fc.constantFrom(0, 1e-3, 0.3, 0.8, 1, 2, 5),
        topP: fc.constantFrom(1, 0.999, 0.95, 0.5, 0.1, 1e-9),
        topK: fc.constantFrom(0, 0, 1, 2, 20, 250, 1000),
        minP: fc.constantFrom(0, 0, 0.001, 0.1, 0.9),
        repetitionPenalty: fc.constantFrom(1, 1, 1.3, 0.7),
        presencePenalty: penalty,
        frequencyPenalty: penalty,
        logitBias: fc
          .uniqueArray(fc.tuple(token, fc.constantFrom(-100, -1, 1, 5)), { maxLength: 3, selector: ([id]) => id })
          .map((bias) => bias.sort((a, b) => a[0] - b[0])),
        minTokens: fc.nat(4),
        endTokenIds: fc
          .uniqueArray(token, { maxLength: Math.min(2, size - 1) })
          .map((ids) => ids.sort((a, b) => a - b)),
        seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        logprobs: fc.constant(-1),
      })
    }
    const drawing = vocabSize.chain((size) =>
      fc.record({
        logits: logitRow(size),
        params: paramsOf(size),
        choice: fc.nat(3),
        prompt: fc.array(fc.nat(size - 1), { maxLength: 6 }),
        output: fc.array(fc.nat(size - 1), { maxLength: 6 }),
      }),
    )

    it('draws the token that the slow sampler draws', () => {
      fc.assert(
        fc.property(drawing, ({ logits, params, choice, prompt, output }) => {
          const isAnyLeft = Array.from(logits, (_, token) => token).some(
            (token) => logits[token]! > -Infinity && !params.endTokenIds.includes(token),
          )
          fc.pre(isAnyLeft)
          const context = { tokens: [...prompt, ...output], promptLength: prompt.length }
          const { token } = createSampler(params, choice).sample(logits, context)
          assert.equal(token, naiveSample(logits, { params, choice }, context))
        }),
        { numRuns: 1500 },
      )
    })
  })

  describe('at temperature 0', () => {
    it('takes the largest logit, ties by lower id', () => assert.equal(sampleWith({}, [1, 3, 3, 2]), 1))
    it('ignores top-k, top-p, min-p and the seed', () =>
      assert.equal(sampleWith({ topK: 1, topP: 0.1, minP: 0.5, seed: 99n }, [1, 2, 5, 4]), 2))
    it('still adds the logit bias', () => assert.equal(sampleWith({ logitBias: [[0, 5]] }, [1, 3]), 0))
    it('still breaks ties by lower id where a penalty is on', () =>
      assert.equal(sampleWith({ presencePenalty: 1 }, [1, 3, 3, 2]), 1))
  })

  describe('penalties', () => {
    const context = { tokens: [0, 1, 1], promptLength: 1 } // prompt 0, output 1 1

    it('divides a positive logit of a repeated token and multiplies a negative one', () => {
      assert.equal(sampleWith({ repetitionPenalty: 2 }, [4, 0, 2.5], context), 2)
      assert.equal(sampleWith({ repetitionPenalty: 2 }, [-1, -9, -1.5], context), 2)
    })
    it('counts repetition in the prompt, presence and frequency in the output only', () => {
      assert.equal(sampleWith({ presencePenalty: 2, frequencyPenalty: 2 }, [4, 4, 3], context), 0)
    })
    it('takes presence once and frequency per occurrence', () => {
      assert.equal(sampleWith({ presencePenalty: 1, frequencyPenalty: 1 }, [0, 5, 2.5], context), 2) // 5 - 1 - 2 = 2
      assert.equal(sampleWith({ presencePenalty: 1, frequencyPenalty: 1 }, [0, 5, 1.5], context), 1)
    })
    it('leave no trace in the next call', () => {
      const sampler = createSampler({ ...GREEDY, repetitionPenalty: 9, presencePenalty: 2 }, 0)
      sampler.sample(Float32Array.of(1, 1, 1), context)
      assert.equal(sampler.sample(Float32Array.of(3, 2, 1), EMPTY).token, 0)
    })
    it('leave the given logits as they are', () => {
      const logits = Float32Array.of(4, 3, 2)
      createSampler({ ...NEUTRAL, repetitionPenalty: 2, logitBias: [[1, 1]] }, 0).sample(logits, context)
      assert.deepEqual([...logits], [4, 3, 2])
    })
  })

  describe('min tokens', () => {
    const params = { minTokens: 2, endTokenIds: [1] }

    it('bans end tokens while the output is shorter', () =>
      assert.equal(sampleWith(params, [1, 9], { tokens: [0, 0, 0], promptLength: 2 }), 0))
    it('allows them from then on', () =>
      assert.equal(sampleWith(params, [1, 9], { tokens: [0, 0, 0], promptLength: 1 }), 1))
    it('beats a logit bias', () => assert.equal(sampleWith({ ...params, logitBias: [[1, 100]] }, [1, 9]), 0))
    it('bears an end token beyond the vocabulary', () =>
      assert.equal(sampleWith({ minTokens: 2, endTokenIds: [1, 7] }, [1, 9]), 0))
  })

  describe('candidates', () => {
    const uniform = Array.from({ length: 10 }, () => 0)

    it('are the k best under top-k, ties by lower id', () => assert.deepEqual(support({ topK: 3 }, uniform), [0, 1, 2]))
    it('are the smallest set that reaches top-p, ties by lower id', () =>
      assert.deepEqual(support({ topP: 0.35 }, uniform), [0, 1, 2, 3]))
    it('are one token where top-p is below its probability', () =>
      assert.deepEqual(support({ topP: 1e-6 }, [0, 1, 0]), [1]))
    it('are at least min-p times as likely as the best', () =>
      assert.deepEqual(support({ minP: 0.1 }, [0, Math.log(0.11), Math.log(0.09), -Infinity]), [0, 1]))
    it('take top-p from what top-k left', () => assert.deepEqual(support({ topK: 4, topP: 0.5 }, uniform), [0, 1]))
    it('never hold a token of logit -Infinity', () => assert.deepEqual(support({}, [0, -Infinity, 0]), [0, 2]))
  })

  it('draws each token as often as softmax says', () => {
    const probabilities = [0.5, 0.25, 0.15, 0.07, 0.03]
    const logits = Float32Array.from(probabilities, Math.log)
    const numDraws = 20_000
    const sampler = createSampler({ ...NEUTRAL, seed: 11n }, 0)
    const counts = new Int32Array(probabilities.length)
    for (let i = 0; i < numDraws; i++)
      counts[sampler.sample(logits, { tokens: new Int32Array(i), promptLength: 0 }).token]!++
    const chiSquared = probabilities.reduce((sum, p, i) => sum + (counts[i]! - p * numDraws) ** 2 / (p * numDraws), 0)
    assert.ok(chiSquared < 18.5, `chi squared ${chiSquared} of 4 degrees of freedom`) // one seed in a thousand is above
  })

  it('draws other tokens for another seed and another choice', () => {
    const logits = new Float32Array(1000)
    const draw = (seed: bigint, choice: number): number =>
      createSampler({ ...NEUTRAL, seed }, choice).sample(logits, EMPTY).token
    assert.equal(new Set([draw(1n, 0), draw(2n, 0), draw(1n, 1)]).size, 3)
  })

  describe('of a large vocabulary', () => {
    const logits = Float32Array.from({ length: 150_000 }, (_, token) => Math.sin(token * 12.9898) * 4)

    for (const params of [{}, { topP: 0.95 }, { temperature: 3, topP: 0.95 }, { topK: 500, minP: 0.01 }]) {
      it(`draws the token that the slow sampler draws with ${JSON.stringify(params)}`, () => {
        const choice = { params: { ...NEUTRAL, ...params }, choice: 0 }
        const context = { tokens: [1, 2, 3], promptLength: 3 }
        // The slow sampler spreads the row over arguments, so it sees as many tokens as a call may have.
        const row = logits.subarray(0, 100_000)
        assert.equal(createSampler(choice.params, 0).sample(row, context).token, naiveSample(row, choice, context))
      })
    }
  })

  describe('log-probabilities', () => {
    const logprobsOf = (logits: readonly number[], params: Partial<SamplingParams>) =>
      createSampler({ ...GREEDY, ...params }, 0).sample(Float32Array.from(logits), EMPTY).logprobs

    it('are absent unless asked for', () => assert.equal(logprobsOf([1, 2], {}), undefined))
    it('are the log-softmax of the untouched logits, best first, ties by lower id', () => {
      const logits = [0.2, 0.4, 0.1, 0.1, 0.2].map(Math.log)
      const result = logprobsOf(logits, { logprobs: 4, temperature: 0.5, logitBias: [[2, 100]] })
      assert.equal(result?.token, 2)
      assert.ok(Math.abs(result.logprob - Math.log(0.1)) < 1e-6)
      assert.deepEqual(
        result.top.map(({ token, logprob }) => [token, logprob.toFixed(5)]),
        [1, 0, 4, 2].map((token) => [token, logits[token]!.toFixed(5)]),
      )
    })
    it('give the sampled token alone where 0 are asked for', () =>
      assert.deepEqual(logprobsOf([0, 0], { logprobs: 0 }), { token: 0, logprob: -Math.log(2), top: [] }))
    it('give the whole vocabulary where more are asked for', () =>
      assert.equal(logprobsOf([1, 2, 3], { logprobs: 20 })?.top.length, 3))
  })

  describe('bad logits', () => {
    for (const temperature of [0, 1]) {
      for (const bad of [NaN, Infinity]) {
        it(`names a logit of ${bad} at temperature ${temperature}`, () =>
          assert.throws(
            () => sampleWith({ temperature }, [1, bad, 2]),
            isInternal(new RegExp(`token 1: .* got ${bad}`)),
          ))
      }
      it(`says that no token is left at temperature ${temperature}`, () =>
        assert.throws(() => sampleWith({ temperature }, [-Infinity, -Infinity]), isInternal(/all 2 logits/)))
    }
    it('names a NaN in the first place', () => assert.throws(() => sampleWith({}, [NaN, 1]), isInternal(/token 0/)))
    it('names a NaN wherever it stands behind the best', () => {
      for (let place = 1; place < 21; place++) {
        const logits = [9, ...Array<number>(20).fill(1)].with(place, NaN)
        assert.throws(() => sampleWith({}, logits), isInternal(new RegExp(`token ${place}:`)))
      }
    })
  })
})
