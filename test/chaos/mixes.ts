// The requests that a case meets, and the answer that each must have. Cases with prompts of one length share them.

import type { Answer } from './answer.js'
import type { ChaosCase } from './cases.js'
import { expectedAnswers } from './expected.js'
import { drawRequests, type ChaosRequest } from './requests.js'

export interface Mix {
  readonly requests: readonly ChaosRequest[]
  readonly expected: readonly Answer[]
}

export interface MixesOptions {
  readonly streams: number
  readonly seed: number
  readonly maxTokens: number
}

/** Answers are computed when a case first wants them. */
export function createMixes({ streams, seed, maxTokens }: MixesOptions): (chaosCase: ChaosCase) => Promise<Mix> {
  const mixes = new Map<number | undefined, Promise<Mix>>()

  const make = async (promptTokens: number | undefined): Promise<Mix> => {
    const requests = drawRequests(streams, seed, { maxTokens, promptTokens })
    return { requests, expected: await expectedAnswers(requests) }
  }

  return ({ promptTokens }) => {
    const known = mixes.get(promptTokens)
    if (known !== undefined) return known
    const mix = make(promptTokens)
    mixes.set(promptTokens, mix)
    return mix
  }
}
