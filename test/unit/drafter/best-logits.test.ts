// Decides whether the quick looks at a row of logits see what slow ones see: its best tokens, and how much all weigh.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { bestLogits, logSumExp } from '../../../services/drafter/best-logits.js'

/** Rows with many ties, with tokens that cannot be sampled, and with values far apart. */
const anyLogits = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: fc.double({ min: -30, max: 30, noNaN: true }) },
      { weight: 2, arbitrary: fc.constantFrom(-1, 0, 2) },
      { weight: 1, arbitrary: fc.constantFrom(-Infinity, -1000, 1000) },
    ),
    { minLength: 1, maxLength: 200 },
  )
  .filter((values) => values.some((value) => value > -Infinity))
  .map((values) => Float32Array.from(values))

const byLogit = (logits: Float32Array): number[] =>
  [...logits.keys()].sort((a, b) => {
    const [first, second] = [logits[a]!, logits[b]!]
    return first === second ? a - b : second - first
  })

describe('bestLogits', () => {
  it('gives the largest, best first, ties by lower id', () => {
    fc.assert(
      fc.property(anyLogits, fc.nat(), (logits, count) => {
        const k = count % (logits.length + 1)
        assert.deepEqual([...bestLogits(logits, k)], byLogit(logits).slice(0, k))
      }),
    )
  })
})

describe('logSumExp', () => {
  it('is within 0.02 of the exact sum at any temperature', () => {
    fc.assert(
      fc.property(anyLogits, fc.double({ min: 0.05, max: 5, noNaN: true }), (logits, temperature) => {
        const scores = Array.from(logits, (logit) => logit / temperature)
        const best = Math.max(...scores)
        const exact = best + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - best), 0))
        const quick = logSumExp(logits, Math.max(...logits), temperature)
        assert.ok(Math.abs(quick - exact) < 0.02, `${quick}, exactly ${exact}`)
      }),
    )
  })
})
