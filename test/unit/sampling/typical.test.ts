import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createSampler } from '../../../lib/sampling/sampler.js'
import { MEDUSA_THRESHOLDS, takeTypical, type TypicalNode } from '../../../lib/sampling/typical.js'
import { naiveCandidates, NEUTRAL } from './naive-sampler.js'

const EMPTY = { tokens: [], promptLength: 0 }

function taken(probabilities: readonly number[], node: Partial<TypicalNode> = {}): number[] {
  const children = probabilities.map((_, token) => token)
  const options = { ...MEDUSA_THRESHOLDS, params: NEUTRAL, context: EMPTY, ...node }
  const takes = takeTypical(Float32Array.from(probabilities, Math.log), children, options)
  return children.filter((token) => takes[token] === 1)
}

describe('takeTypical', () => {
  // Entropy 1.00 nats, so the second bound is 0.3 / e = 0.11 and the first one, 0.09, decides.
  const peaked = [0.6, 0.21, 0.1, 0.08, 0.01]
  // Entropy ln 20, so the second bound is 0.3 / 20 = 0.015.
  const flat = Array.from({ length: 20 }, () => 0.05)

  it('keeps what is more probable than epsilon where the distribution has a peak', () =>
    assert.deepEqual(taken(peaked), [0, 1, 2]))
  it('asks for less where the distribution is flat', () => assert.equal(taken(flat).length, 20))
  it('asks for delta times exp(-entropy) there', () => assert.equal(taken(flat, { delta: 1.01 }).length, 0))
  it('never asks for more than epsilon', () => assert.deepEqual(taken(peaked, { epsilon: 0.2, delta: 9 }), [0, 1]))

  it('judges after temperature', () => {
    assert.deepEqual(taken(peaked, { params: { ...NEUTRAL, temperature: 0.3 } }), [0])
  })
  it('judges after penalties and bias, on the path as on the rest', () => {
    const context = { tokens: [0, 0], promptLength: 1 }
    assert.deepEqual(taken(peaked, { context, params: { ...NEUTRAL, presencePenalty: 2 } }), [0, 1, 2, 3])
    assert.deepEqual(taken(peaked, { params: { ...NEUTRAL, logitBias: [[4, 5]] } }), [0, 4])
  })
  it('keeps no token that top-k, top-p or min-p cut off', () => {
    for (const cut of [{ topK: 2 }, { topP: 0.7 }, { minP: 0.3 }])
      assert.deepEqual(taken(peaked, { params: { ...NEUTRAL, ...cut } }), [0, 1])
  })
  it('keeps no end token that is banned, at any temperature', () => {
    for (const temperature of [0, 1]) {
      const params = { ...NEUTRAL, temperature, minTokens: 1, endTokenIds: [0] }
      assert.ok(!taken(peaked, { params }).includes(0))
    }
  })
  it('keeps only the greedy token at temperature 0, ties by lower id', () => {
    const params = { ...NEUTRAL, temperature: 0 }
    assert.deepEqual(taken(peaked, { params }), [0])
    assert.deepEqual(taken(flat, { params }), [0])
    assert.deepEqual(taken(peaked, { params: { ...params, logitBias: [[3, 5]] } }), [3])
  })
  it('answers for the children that were asked for, in their order', () => {
    const options = { ...MEDUSA_THRESHOLDS, params: NEUTRAL, context: EMPTY }
    const logits = Float32Array.from(peaked, Math.log)
    assert.deepEqual([...takeTypical(logits, [4, 0, 3, 2], options)], [0, 1, 0, 1])
    assert.deepEqual([...takeTypical(logits, [], options)], [])
  })
  it('leaves the logits and the sampler as they were', () => {
    const logits = Float32Array.from(peaked, Math.log)
    const params = { ...NEUTRAL, repetitionPenalty: 1.5, frequencyPenalty: 1, temperature: 0.7 }
    const context = { tokens: [0, 1, 1], promptLength: 1 }
    const before = createSampler(params, 0).sample(logits, context)
    takeTypical(logits, [0, 1], { ...MEDUSA_THRESHOLDS, params, context })
    assert.deepEqual([...logits], [...Float32Array.from(peaked, Math.log)])
    assert.deepEqual(createSampler(params, 0).sample(logits, context), before)
  })

  it('keeps what its definition keeps', () => {
    const drawing = fc.record({
      logits: fc.array(fc.float({ min: -6, max: 6, noNaN: true }), { minLength: 1, maxLength: 40 }),
      temperature: fc.constantFrom(0.3, 1, 2),
      topK: fc.constantFrom(0, 3),
      topP: fc.constantFrom(1, 0.8137), // no number of equal tokens adds up to it: rounding would decide
    })
    fc.assert(
      fc.property(drawing, ({ logits, ...chosen }) => {
        const params = { ...NEUTRAL, ...chosen }
        const weights = naiveCandidates(logits, params).map(({ token, score }) => ({ token, weight: Math.exp(score) }))
        const total = weights.reduce((sum, { weight }) => sum + weight, 0)
        const shares = weights.map(({ token, weight }) => ({ token, p: weight / total }))
        const entropy = shares.reduce((sum, { p }) => sum - p * Math.log(p), 0)
        const bound = Math.min(0.09, 0.3 * Math.exp(-entropy))
        const want = shares.filter(({ p }) => p > bound).map(({ token }) => token)
        const children = logits.map((_, token) => token)
        const node = { epsilon: 0.09, delta: 0.3, params, context: EMPTY }
        const takes = takeTypical(Float32Array.from(logits), children, node)
        assert.deepEqual(
          children.filter((token) => takes[token] === 1),
          want.sort((a, b) => a - b),
        )
      }),
      { numRuns: 500 },
    )
  })
})
