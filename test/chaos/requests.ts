// The mix of requests that every fault meets: greedy, seeded, several choices, stop strings, with and without drafts, over
// gRPC and over HTTP, short and long. Everything that decides an answer is in the request, the seed above all.

import type { GenerateRequest } from '../../sdk/src/index.js'
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

/** The i-th of all: what it asks for goes round, the rest is drawn. */
function drawRequest(i: number, maxTokens: number, random: () => number): ChaosRequest {
  const texts = [...PROMPTS, ...COPYING_PROMPTS]
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
  const text = texts[Math.floor(random() * texts.length)] ?? ''
  const request: GenerateRequest = {
    text,
    sampling,
    ...(kind === 'two choices' && { n: 2 }),
    ...(!hasDrafts && { speculation: false }),
  }
  const name = `${i}: ${kind}, ${isWarm ? 'T 0.9' : 'T 0'}, ${hasDrafts ? 'trees' : 'no trees'}, ${door}`
  return { name, door, request }
}

export function drawRequests(count: number, seed: number, maxTokens = MAX_TOKENS): ChaosRequest[] {
  const random = createRandom(seed)
  return Array.from({ length: count }, (_, i) => drawRequest(i, maxTokens, random))
}
