// Requests that begin alike, as those of one system prompt or one conversation do.

import type { Contender } from './peers/contender.js'
import { drawPrompts } from './peers/prompts.js'

export interface SharedPrefix {
  readonly seed: number // another seed draws another prefix
  readonly count: number
  readonly prefixTokens: number
  readonly ownTokens: number // after the prefix
  readonly vocabSize: number
}

/** Prompts with one beginning, each with an end of its own. */
export function drawSharedPrefix({ seed, count, prefixTokens, ownTokens, vocabSize }: SharedPrefix): number[][] {
  const [prefix = []] = drawPrompts({ seed: 2 * seed, count: 1, length: prefixTokens, vocabSize })
  const ends = drawPrompts({ seed: 2 * seed + 1, count, length: ownTokens, vocabSize })
  return ends.map((end) => [...prefix, ...end])
}

export interface FirstToken {
  readonly token: number
  readonly ms: number
}

/** The first token of one request, sent while no other runs. */
export async function askFirstToken(side: Contender, prompt: readonly number[]): Promise<FirstToken> {
  const { tokens, timesMs } = await side.decode([prompt], 1)
  const [token, ms] = [tokens[0]?.[0], timesMs[0]?.[0]]
  if (token === undefined || ms === undefined) throw new Error('request: want a first token, found none')
  return { token, ms }
}
