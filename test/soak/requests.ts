// Requests that use everything a request can ask for, drawn from a seed. What ends an answer early is taken from the answer
// to the same request without it, so that it is met.

import type { Completion, GenerateRequest, SamplingOptions } from '../../sdk/src/index.js'
import { COPYING_PROMPTS, PROMPTS } from '../helpers/prompts.js'

export interface Draw {
  readonly random: () => number
  readonly vocabSize: number
  readonly maxPositions: number
}

type Changes = Omit<GenerateRequest, 'text' | 'sampling'> & { readonly sampling?: SamplingOptions }
export type Base = Pick<Completion, 'tokenIds' | 'text'> // the answer without the feature
type Feature = (base: Base, draw: Draw) => Changes

const TEMPERATURES = [0, 0.5, 0.8, 1.5]
const MIN_TOKENS = 24
const MAX_TOKENS = 96
const RANDOM_PROMPT = 24
const RANDOM_SHARE = 0.2

const whole = (random: () => number, from: number, to: number): number => from + Math.floor(random() * (to - from + 1))
const between = (random: () => number, from: number, to: number): number => from + random() * (to - from)

/** A token of the second half of the answer: an end that comes where drafts have begun to hit. */
function laterToken({ tokenIds }: Base, { random }: Draw): number {
  return tokenIds[whole(random, Math.floor(tokenIds.length / 2), tokenIds.length - 1)] ?? 1
}

function laterText({ text }: Base, { random }: Draw): string {
  const at = whole(random, Math.floor(text.length / 2), Math.max(0, text.length - 3))
  return text.slice(at, at + whole(random, 1, 3)) || ';'
}

export const FEATURES: Readonly<Record<string, Feature>> = {
  plain: () => ({}),
  'top-k': (_, { random }) => ({ sampling: { topK: whole(random, 1, 50) } }),
  'top-p': (_, { random }) => ({ sampling: { topP: between(random, 0.3, 1) } }),
  'min-p': (_, { random }) => ({ sampling: { minP: between(random, 0.01, 0.3) } }),
  penalties: (_, { random }) => ({ sampling: drawPenalties(random) }),
  'stop string': (base, draw) => ({ sampling: { stop: [laterText(base, draw)], includeStop: draw.random() < 0.5 } }),
  'stop id': (base, draw) => ({ sampling: { stopTokenIds: [laterToken(base, draw)] } }),
  'min tokens': (base, draw) => ({
    sampling: { stopTokenIds: [laterToken(base, draw)], minTokens: whole(draw.random, 8, MIN_TOKENS) },
  }),
  'end of text': (_, { random }) => ({
    sampling: { ignoreEos: false, logitBias: { 0: between(random, 8, 20) }, minTokens: whole(random, 0, 8) },
  }),
  'logit bias': (base, draw) => ({ sampling: { logitBias: drawBias(base, draw) } }),
  logprobs: (_, { random }) => ({ logprobs: whole(random, 0, 5) }),
  'two choices': () => ({ n: 2 }),
  'near the limit': nearTheLimit,
  everything: (base, draw) => ({
    n: 2,
    logprobs: 3,
    sampling: {
      ...drawPenalties(draw.random),
      topK: 40,
      topP: 0.95,
      minP: 0.02,
      logitBias: drawBias(base, draw),
      stop: [laterText(base, draw)],
      stopTokenIds: [laterToken(base, draw)],
      minTokens: 12,
    },
  }),
}

const drawPenalties = (random: () => number): SamplingOptions => ({
  repetitionPenalty: between(random, 1, 1.3),
  presencePenalty: between(random, 0, 0.5),
  frequencyPenalty: between(random, 0, 0.5),
})

function drawBias(base: Base, draw: Draw): Record<number, number> {
  const { random, vocabSize } = draw
  return {
    [whole(random, 1, vocabSize - 1)]: between(random, 0, 8),
    [laterToken(base, draw)]: between(random, -8, 0),
  }
}

/** The answer over and over, up to where few tokens are left; the context ends the request. */
function nearTheLimit({ tokenIds }: Base, { random, maxPositions }: Draw): Changes {
  const length = maxPositions - whole(random, 8, 60)
  const tokens = Array.from({ length }, (_, i) => tokenIds[i % tokenIds.length] ?? 1)
  return { tokens, sampling: { maxTokens: maxPositions - length } }
}

/** The i-th request before its feature: temperatures go round, so that in time every feature meets each of them. */
export function baseRequest(i: number, { random, vocabSize }: Draw): GenerateRequest {
  const numFeatures = Object.keys(FEATURES).length
  const temperature = TEMPERATURES[(i + Math.floor(i / numFeatures)) % TEMPERATURES.length] ?? 0
  const seed = BigInt(whole(random, 0, 2 ** 32))
  const maxTokens = whole(random, MIN_TOKENS, MAX_TOKENS)
  return { ...drawPrompt(random, vocabSize), sampling: { temperature, seed, maxTokens, ignoreEos: true } }
}

function drawPrompt(random: () => number, vocabSize: number): Pick<GenerateRequest, 'text' | 'tokens'> {
  if (random() < RANDOM_SHARE) {
    return { tokens: Array.from({ length: RANDOM_PROMPT }, () => whole(random, 1, vocabSize - 1)) }
  }
  const texts = [...PROMPTS, ...COPYING_PROMPTS]
  return { text: texts[whole(random, 0, texts.length - 1)] ?? '' }
}

/** The i-th request whole; `base` is the answer to it without its feature. */
export function finalRequest(
  i: number,
  request: GenerateRequest,
  base: Base,
  draw: Draw,
): { readonly feature: string; readonly request: GenerateRequest } {
  const names = Object.keys(FEATURES)
  const feature = names[i % names.length] ?? 'plain'
  const { sampling, tokens, ...changes } = FEATURES[feature]?.(base, draw) ?? {}
  const prompt = promptOf(tokens === undefined ? request : { tokens })
  return { feature, request: { ...prompt, ...changes, sampling: { ...request.sampling, ...sampling } } }
}

const promptOf = ({ text, tokens = [] }: GenerateRequest): GenerateRequest =>
  text === undefined ? { tokens } : { text }
