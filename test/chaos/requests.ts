// The mix of requests that every fault meets: greedy, seeded, several choices, stop strings, with and without drafts, over
// gRPC and over HTTP, short and long. Everything that decides an answer is in the request, the seed above all.

import { createTokenizer } from '../../lib/model/tokenizer.js'
import type { GenerateRequest } from '../../sdk/src/index.js'
import { demoModel } from '../helpers/paths.js'
import { COPYING_PROMPTS, PROMPTS } from '../helpers/prompts.js'
import { createRandom } from '../helpers/random.js'

export interface ChaosRequest {
  readonly name: string
  readonly door: 'grpc' | 'http'
  readonly request: GenerateRequest
}

const MIN_TOKENS = 64
export const MAX_TOKENS = 288
const STOPS = ['}\n', ');', ' */'] // common in the demonstration model's language
const KINDS = ['greedy', 'seeded', 'two choices', 'stop strings'] as const
const TEXTS = [...PROMPTS, ...COPYING_PROMPTS]
const VOCAB_SIZE = 4096 // of the bundled model

export interface MixOptions {
  readonly maxTokens?: number // that each request decodes at most
  readonly promptTokens?: number | undefined // of every prompt; absent: prompts are as long as their texts
}

const drawText = (random: () => number): string => TEXTS[Math.floor(random() * TEXTS.length)] ?? ''

/** The i-th of all: what it asks for goes round, the rest is drawn. */
function drawRequest(i: number, { maxTokens = MAX_TOKENS }: MixOptions, random: () => number): ChaosRequest {
  const kind = KINDS[i % KINDS.length] ?? 'greedy'
  const round = Math.floor(i / KINDS.length)
  const hasDrafts = round % 2 === 0
  const door = kind !== 'two choices' && round % 3 === 2 ? 'http' : 'grpc'
  const isWarm = kind === 'seeded' || (kind !== 'greedy' && random() < 0.5)
  const sampling = {
    temperature: isWarm ? 0.9 : 0,
    seed: BigInt(Math.floor(random() * 2 ** 32)),
    maxTokens: MIN_TOKENS + Math.floor(random() * (maxTokens - MIN_TOKENS)),
    ignoreEos: true,
    ...(kind === 'stop strings' && { stop: STOPS }),
  }
  const request: GenerateRequest = {
    text: drawText(random),
    sampling,
    ...(kind === 'two choices' && { n: 2 }),
    ...(!hasDrafts && { speculation: false }),
  }
  const name = `${i}: ${kind}, ${isWarm ? 'T 0.9' : 'T 0'}, ${hasDrafts ? 'trees' : 'no trees'}, ${door}`
  return { name, door, request }
}

/** So many ids, no two prompts alike from their first block on: what one leaves in a prefix cache helps no other. */
function drawPrompt(i: number, length: number, random: () => number): readonly number[] {
  const tokenizer = createTokenizer(demoModel, VOCAB_SIZE)
  if (tokenizer === undefined) throw new Error(`${demoModel}: want a tokenizer, found none`)
  const tokens = tokenizer.encode(`// ${i}\n`)
  while (tokens.length < length) tokens.push(...tokenizer.encode(drawText(random)))
  return tokens.slice(0, length)
}

export function drawRequests(count: number, seed: number, options: MixOptions = {}): ChaosRequest[] {
  const random = createRandom(seed)
  const drawn = Array.from({ length: count }, (_, i) => drawRequest(i, options, random))
  const { promptTokens } = options
  if (promptTokens === undefined) return drawn
  return drawn.map(({ request: { text: _, ...request }, ...about }, i) => ({
    ...about,
    request: { ...request, tokens: drawPrompt(i, promptTokens, random) },
  }))
}
