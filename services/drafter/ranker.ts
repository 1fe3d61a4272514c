// What the target's sampler will make of a drafter's guess: the most probable tokens at a position, and how probable
// each is. With shared noise the guess is perturbed as the sampler perturbs its own distribution (Gumbel-max, the same
// counter-based noise), so that drafts agree with it at temperature > 0 (Daliri et al., arXiv 2408.07978).
//
// Invariants
//   R1  Nothing here changes a token that is emitted: the sampler alone decides.
//   R2  A ranking looks at MAX_CANDIDATES tokens at most, the best ones before noise: the sampler draws others rarely.

import { noiseKey } from '../../lib/sampling/noise.js'
import type { SamplingParams } from '../../lib/sampling/params.js'
import { createAdjustment } from './adjustment.js'
import { bestLogits, logSumExp } from './best-logits.js'

const MAX_CANDIDATES = 32

export interface Ranked {
  readonly token: number
  readonly probability: number
}

export interface Ranker {
  readonly isGreedy: boolean
  /** The k most probable choices at absolute `position` from weights (counts, shares) of some tokens. */
  rankWeights(tokens: readonly number[], weights: readonly number[], position: number, k: number): Ranked[]
  /** The same from a model's logits [vocab]; `committed` are the tokens that penalties count. */
  rankLogits(logits: Float32Array, committed: Int32Array, position: number, k: number): Ranked[]
}

export interface RankerOptions {
  readonly choice: number
  readonly promptLength: number
  readonly isShared: boolean // the sampler's noise
}

export function createRanker(params: SamplingParams, { choice, promptLength, isShared }: RankerOptions): Ranker {
  const isGreedy = params.temperature === 0
  const temperature = isGreedy ? 1 : params.temperature
  const noise = isShared && !isGreedy ? noiseKey(params.seed, choice) : undefined
  const adjust = createAdjustment(params, promptLength)
  const isShareOfAllNeeded = noise === undefined || params.topP < 1 // under noise shares among the candidates will do
  const areAllNeeded = noise !== undefined || adjust.isNeeded // a token further behind may come first

  /** Adds the position's noise in place. */
  const perturb = (tokens: ArrayLike<number>, scores: Float64Array, position: number): void => {
    if (noise === undefined) return
    for (let i = 0; i < scores.length; i++) scores[i]! += noise.gumbel(position, tokens[i]!)
  }

  return {
    isGreedy,
    rankWeights: (tokens, weights, position, k) => {
      const scores = new Float64Array(weights.length)
      for (let i = 0; i < scores.length; i++) scores[i] = Math.log(weights[i]!)
      perturb(tokens, scores, position)
      return rank(tokens, scores, k, 0)
    },
    rankLogits: (logits, committed, position, k) => {
      const tokens = bestLogits(logits, Math.min(areAllNeeded ? MAX_CANDIDATES : k, logits.length))
      const best = logits[tokens[0]!]!
      const all = isShareOfAllNeeded ? logSumExp(logits, best, temperature) : best / temperature
      const scores = new Float64Array(tokens.length) // logs of probabilities, about
      for (let i = 0; i < tokens.length; i++) {
        const token = tokens[i]!
        scores[i] = adjust.score(token, logits[token]!, committed) / temperature - all
      }
      if (adjust.isNeeded) sortTogether(tokens, scores)
      const numKept = isGreedy ? scores.length : keep(scores, params, scores.length === logits.length)
      const kept = scores.subarray(0, numKept)
      // Under shared noise the winner is certain but for the error of the guess; else what was left out may come too.
      const rest = noise === undefined && numKept === scores.length ? Math.max(0, 1 - massOf(kept)) : 0
      perturb(tokens, kept, position)
      return rank(tokens, kept, k, rest)
    },
  }
}

/** The k best with their shares; `rest` is the sum of exp(score) of what is not listed. */
function rank(tokens: ArrayLike<number>, scores: Float64Array, k: number, rest: number): Ranked[] {
  const order: number[] = []
  for (let i = 0; i < scores.length; i++) {
    let place = order.length < k ? order.length : k
    while (place > 0 && isBefore(tokens, scores, i, order[place - 1]!)) place--
    if (place < k) order.splice(place, 0, i)
    if (order.length > k) order.pop()
  }
  const best = scores[order[0] ?? 0] ?? 0
  let sum = rest * Math.exp(-best)
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i]! - best)
  return order.map((i) => ({ token: tokens[i]!, probability: Math.exp(scores[i]! - best) / sum }))
}

const isBefore = (tokens: ArrayLike<number>, scores: Float64Array, a: number, b: number): boolean =>
  scores[a]! > scores[b]! || (scores[a] === scores[b] && tokens[a]! < tokens[b]!)

/** Puts tokens in the order of their scores, which penalties may have changed. */
function sortTogether(tokens: Int32Array, scores: Float64Array): void {
  const order = Array.from(tokens.keys()).sort((a, b) => (isBefore(tokens, scores, a, b) ? -1 : 1))
  const [oldTokens, oldScores] = [tokens.slice(), scores.slice()]
  order.forEach((from, to) => {
    tokens[to] = oldTokens[from]!
    scores[to] = oldScores[from]!
  })
}

function massOf(scores: Float64Array): number {
  let mass = 0
  for (let i = 0; i < scores.length; i++) mass += Math.exp(scores[i]!)
  return mass
}

/** How many of the best scores (falling) min-p, top-k and top-p leave; `areAll`: there are no others. */
function keep(scores: Float64Array, { minP, topK, topP }: SamplingParams, areAll: boolean): number {
  const floor = minP > 0 ? scores[0]! + Math.log(minP) : -Number.MAX_VALUE
  const most = topK > 0 ? Math.min(topK, scores.length) : scores.length
  let left = 0
  while (left < most && scores[left]! >= floor) left++
  if (topP === 1) return left
  const mass = massOf(scores.subarray(0, left))
  const target = topP * (areAll || left < scores.length ? mass : Math.max(1, mass))
  let kept = 0
  for (let sum = 0; kept < left && sum < target; kept++) sum += Math.exp(scores[kept]!)
  return kept
}
