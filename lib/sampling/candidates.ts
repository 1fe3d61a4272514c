// Which tokens may be drawn at all: temperature, then min-p, top-k, top-p.
//
// Invariants
//   C1  The best token always stays. Ties go to the lower id.
//   C2  Top-p looks at the distribution over what min-p and top-k left.
//   C3  A token of probability zero (a score of -Infinity) is no candidate.

import type { SamplingParams } from './params.js'
import { selectBest } from './select-best.js'
import type { Workspace } from './workspace.js'

const NUM_BINS = 1024 // of scores below the best; the last one holds all that are further away
const BINS_PER_NAT = 32

/**
 * Turns `scores` into (score - best) / temperature and returns how many candidates are at the front of `ids`, in no
 * promised order. `best` is the largest score and finite; the temperature is above 0.
 */
export function keepCandidates({ scores, ids }: Workspace, params: SamplingParams, best: number): number {
  const floor = params.minP > 0 ? Math.log(params.minP) : -Number.MAX_VALUE
  let count = 0
  for (let token = 0; token < scores.length; token++) {
    const scaled = (scores[token]! - best) / params.temperature
    scores[token] = scaled
    if (scaled >= floor) ids[count++] = token
  }
  if (params.topK > 0 && params.topK < count) {
    selectBest(ids, count, params.topK, scores)
    count = params.topK
  }
  return params.topP < 1 ? keepNucleus({ scores, ids }, count, params.topP) : count
}

/**
 * Keeps the smallest set of best tokens whose probabilities add up to `topP`; returns its size. Only the tokens of
 * the one score bin in which the sum crosses `topP` are put in order, so a flat distribution is no slower than a peak.
 */
function keepNucleus({ scores, ids }: Pick<Workspace, 'scores' | 'ids'>, count: number, topP: number): number {
  const masses = new Float64Array(NUM_BINS)
  for (let i = 0; i < count; i++) {
    const score = scores[ids[i]!]!
    masses[binOf(score)]! += Math.exp(score)
  }
  const target = topP * masses.reduce((sum, mass) => sum + mass, 0)
  let crossing = 0
  let mass = 0
  for (; crossing < NUM_BINS - 1 && mass + masses[crossing]! < target; crossing++) mass += masses[crossing]!

  const numBetter = moveForward(ids.subarray(0, count), (token) => binOf(scores[token]!) < crossing)
  const rest = ids.subarray(numBetter, count)
  const numAtCrossing = moveForward(rest, (token) => binOf(scores[token]!) === crossing)
  if (numAtCrossing > 0) selectBest(rest, numAtCrossing, numAtCrossing, scores)
  let kept = 0
  for (; kept < numAtCrossing && mass < target; kept++) mass += Math.exp(scores[rest[kept]!]!)
  return numBetter + kept
}

const binOf = (score: number): number => Math.min(-score * BINS_PER_NAT, NUM_BINS - 1) | 0

/** Permutes `ids` so that those chosen come first; returns how many. */
function moveForward(ids: Int32Array, isChosen: (token: number) => boolean): number {
  let chosen = 0
  for (let i = 0; i < ids.length; i++) {
    const token = ids[i]!
    if (!isChosen(token)) continue
    ids[i] = ids[chosen]!
    ids[chosen++] = token
  }
  return chosen
}
