// Decides whether a drafter's penalties, bias and ban on early ends are the sampler's own, token for token.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { SamplingParams } from '../../../lib/sampling/params.js'
import { adjustScores } from '../../../lib/sampling/penalties.js'
import { createAdjustment } from '../../../services/drafter/adjustment.js'
import { NEUTRAL } from '../sampling/naive-sampler.js'

const VOCAB = 12
const anyToken = fc.nat({ max: VOCAB - 1 })
const anyPenalty = fc.constantFrom(-1.5, 0, 0.4, 2)

const anyParams: fc.Arbitrary<SamplingParams> = fc
  .record({
    repetitionPenalty: fc.constantFrom(0.7, 1, 1.3),
    presencePenalty: anyPenalty,
    frequencyPenalty: anyPenalty,
    logitBias: fc.uniqueArray(fc.tuple(anyToken, fc.double({ min: -100, max: 100, noNaN: true })), {
      maxLength: 3,
      selector: ([token]) => token,
    }),
    minTokens: fc.nat({ max: 6 }),
    endTokenIds: fc.uniqueArray(anyToken, { maxLength: 2 }),
  })
  .map((some) => ({ ...NEUTRAL, ...some }))

const anyLogits = fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: VOCAB, maxLength: VOCAB })

/** What the sampler makes of the logits after `tokens`. */
function adjusted(logits: readonly number[], params: SamplingParams, tokens: Int32Array, promptLength: number) {
  const scores = Float64Array.from(logits)
  const counts = new Int32Array(VOCAB)
  adjustScores({ scores, counts, ids: new Int32Array(VOCAB) }, params, { tokens, promptLength })
  return scores
}

const isSame = (a: number, b: number): boolean => a === b || Math.abs(a - b) < 1e-9

describe('createAdjustment', () => {
  it('scores every token as the sampler does, also while a sequence grows and where it starts again', () => {
    const someTokens = fc.array(anyToken, { minLength: 1, maxLength: 12 })
    const lengths = fc.array(fc.nat(), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(anyParams, anyLogits, someTokens, lengths, fc.nat(), (params, logits, tokens, cuts, prompt) => {
        const promptLength = prompt % tokens.length
        const adjustment = createAdjustment(params, promptLength)
        for (const cut of cuts) {
          const committed = Int32Array.from(tokens.slice(0, promptLength + (cut % (tokens.length - promptLength + 1))))
          const wanted = adjusted(logits, params, committed, promptLength)
          logits.forEach((logit, token) => {
            const score = adjustment.score(token, logit, committed)
            assert.ok(isSame(score, wanted[token]!), `token ${token}: ${score}, the sampler has ${wanted[token]}`)
          })
        }
      }),
    )
  })

  it('says that it is needed wherever it changes a score', () => {
    fc.assert(
      fc.property(
        anyParams,
        anyLogits,
        fc.array(anyToken, { minLength: 1, maxLength: 12 }),
        (params, logits, tokens) => {
          const wanted = adjusted(logits, params, Int32Array.from(tokens), 0)
          const isChanged = wanted.some((score, token) => score !== logits[token])
          assert.ok(createAdjustment(params, 0).isNeeded || !isChanged)
        },
      ),
    )
  })
})
