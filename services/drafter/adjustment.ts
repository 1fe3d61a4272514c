// Bias, the ban on early ends and penalties as the sampler applies them, for the few tokens that a drafter looks at.
// Tokens drafted but not committed are not counted: a guess may be that wrong.

import type { SamplingParams } from '../../lib/sampling/params.js'

export interface Adjustment {
  readonly isNeeded: boolean
  /** The logit as the sampler would have it after `committed`. */
  score(token: number, logit: number, committed: Int32Array): number
}

export function createAdjustment(params: SamplingParams, promptLength: number): Adjustment {
  const bias = new Map(params.logitBias)
  const ends = new Set(params.endTokenIds)
  const { repetitionPenalty, presencePenalty, frequencyPenalty, minTokens } = params
  const hasPenalty = repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0
  const counts = { all: new Map<number, number>(), output: new Map<number, number>(), upTo: 0 }

  const count = (committed: Int32Array): void => {
    if (committed.length < counts.upTo) {
      counts.all.clear()
      counts.output.clear()
      counts.upTo = 0
    }
    for (; counts.upTo < committed.length; counts.upTo++) {
      const token = committed[counts.upTo]!
      counts.all.set(token, (counts.all.get(token) ?? 0) + 1)
      if (counts.upTo >= promptLength) counts.output.set(token, (counts.output.get(token) ?? 0) + 1)
    }
  }

  return {
    isNeeded: hasPenalty || bias.size > 0 || (minTokens > 0 && ends.size > 0),
    score: (token, logit, committed) => {
      let score = logit + (bias.get(token) ?? 0)
      if (committed.length - promptLength < minTokens && ends.has(token)) return -Infinity
      if (!hasPenalty) return score
      count(committed)
      if (counts.all.has(token)) score = score > 0 ? score / repetitionPenalty : score * repetitionPenalty
      const inOutput = counts.output.get(token) ?? 0
      return inOutput === 0 ? score : score - presencePenalty - frequencyPenalty * inOutput
    },
  }
}
