// Requests that simulations draw from. Their answers in a quiet cluster are known: any other cluster must give the same.

import type { Random } from '../../lib/actor/actor.js'
import type { GenerateRequest } from '../../sdk/src/types.js'
import { integer, pick } from './chance.js'
import { LETTERS, VOCAB_SIZE } from './model-folder.js'

const FIRST_TOKEN = 2 // 0 ends a text

/** As many different requests, each wholly determined: sampled ones carry their seed. */
export function drawRequests(random: Random, count: number): GenerateRequest[] {
  const tokens = (length: number) => Array.from({ length }, () => integer(random, FIRST_TOKEN, VOCAB_SIZE - 1))
  const letters = (length: number) => Array.from({ length }, () => pick(random, [...LETTERS])).join('')
  const beginnings = [tokens(20), tokens(33)] // that several prompts share
  return Array.from({ length: count }, () => {
    const phrase = tokens(integer(random, 2, 12))
    const isRepetitive = random() < 0.4 // drafts hit there
    const body = isRepetitive ? [...phrase, ...phrase, ...phrase] : tokens(integer(random, 3, 30))
    const prompt = random() < 0.3 ? [...pick(random, beginnings), ...body] : body
    const isGreedy = random() < 0.5
    return {
      tokens: prompt,
      n: random() < 0.2 ? 2 : 1,
      ...(random() < 0.25 && { logprobs: integer(random, 0, 3) }),
      ...(random() < 0.2 && { speculation: false }),
      priority: pick(random, ['high', 'normal', 'normal', 'low']),
      sampling: {
        maxTokens: integer(random, 2, 14),
        temperature: isGreedy ? 0 : pick(random, [0.3, 0.8, 1.5]),
        seed: BigInt(integer(random, 0, 2 ** 31)),
        ...(random() < 0.3 && { topP: 0.9 }),
        ...(random() < 0.2 && { topK: 12 }),
        ...(random() < 0.2 && { minP: 0.02 }),
        ...(random() < 0.3 && { repetitionPenalty: 1.3 }),
        ...(random() < 0.2 && { presencePenalty: 0.7 }),
        ...(random() < 0.2 && { frequencyPenalty: 0.4 }),
        ...(random() < 0.2 && { logitBias: { [pick(random, phrase)]: 6, [pick(random, body)]: -100 } }),
        ...(random() < 0.3 && { stop: [letters(2), letters(2), letters(4)] }),
        ...(random() < 0.3 && { includeStop: true }),
        ...(random() < 0.2 && { minTokens: 2 }),
        ...(random() < 0.3 && { stopTokenIds: tokens(40) }),
        ...(random() < 0.3 && { ignoreEos: true }),
      },
    }
  })
}
