// The sampler's definition with sorts, maps and fresh arrays: slow, and hard to get wrong. Its twin is lib/sampling.

import { noiseKey } from '../../../lib/sampling/noise.js'
import type { SamplingParams } from '../../../lib/sampling/params.js'

export const NEUTRAL: SamplingParams = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  logitBias: [],
  minTokens: 0,
  endTokenIds: [],
  seed: 1n,
  logprobs: -1,
}

interface Scored {
  readonly token: number
  readonly score: number
}

const bestFirst = (a: Scored, b: Scored): number => (a.score === b.score ? a.token - b.token : b.score - a.score)

function adjusted(
  logits: Float32Array,
  params: SamplingParams,
  tokens: readonly number[],
  promptLength: number,
): number[] {
  const output = tokens.slice(promptLength)
  const bias = new Map(params.logitBias)
  return Array.from(logits, (logit, token) => {
    let score = logit + (bias.get(token) ?? 0)
    if (output.length < params.minTokens && params.endTokenIds.includes(token)) score = -Infinity
    if (tokens.includes(token)) score = score > 0 ? score / params.repetitionPenalty : score * params.repetitionPenalty
    const count = output.filter((other) => other === token).length
    return count === 0 ? score : score - (params.presencePenalty + params.frequencyPenalty * count)
  })
}

/** The tokens that may be drawn, best first, with (score - best) / temperature. */
export function naiveCandidates(scores: readonly number[], params: SamplingParams): Scored[] {
  const best = Math.max(...scores)
  const scaled = scores
    .map((score, token) => ({ token, score: (score - best) / params.temperature }))
    .filter(({ score }) => score !== -Infinity && Math.exp(score) >= params.minP)
    .sort(bestFirst)
  const top = params.topK > 0 ? scaled.slice(0, params.topK) : scaled
  if (params.topP === 1) return top
  const total = top.reduce((sum, { score }) => sum + Math.exp(score), 0)
  let mass = 0
  const size = top.findIndex(({ score }) => (mass += Math.exp(score) / total) >= params.topP)
  return size === -1 ? top : top.slice(0, size + 1)
}

export function naiveSample(
  logits: Float32Array,
  { params, choice }: { params: SamplingParams; choice: number },
  { tokens, promptLength }: { tokens: readonly number[]; promptLength: number },
): number {
  const scores = adjusted(logits, params, tokens, promptLength)
  if (params.temperature === 0) return scores.indexOf(Math.max(...scores))
  const noise = noiseKey(params.seed, choice)
  const drawn = naiveCandidates(scores, params).map(({ token, score }) => ({
    token,
    score: score + noise.gumbel(tokens.length, token),
  }))
  return drawn.sort(bestFirst)[0]!.token
}
