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
  masses.fill(0)
  let total = 0
  for (let i = 0; i < count; i++) {
    const score = scores[ids[i]!]!
    masses[binOf(score)]! += Math.exp(score)
  }
  for (let bin = 0; bin < NUM_BINS; bin++) total += masses[bin]!
  const target = topP * total
  let crossing = 0
  let mass = 0
  for (; crossing < NUM_BINS - 1 && mass + masses[crossing]! < target; crossing++) mass += masses[crossing]!

  const { numBetter, numAtCrossing } = moveForward({ scores, ids }, count, crossing)
  const rest = ids.subarray(numBetter, count)
  if (numAtCrossing > 0) selectBest(rest, numAtCrossing, numAtCrossing, scores)
  let kept = 0
  for (; kept < numAtCrossing && mass < target; kept++) mass += Math.exp(scores[rest[kept]!]!)
  return numBetter + kept
}

const masses = new Float64Array(NUM_BINS) // sampling is synchronous
let atCrossing = new Int32Array(0)
const binOf = (score: number): number => Math.min(-score * BINS_PER_NAT, NUM_BINS - 1) | 0

/** Permutes `ids` so that the tokens of better bins come first, then those of the crossing one; the others are lost. */
function moveForward({ scores, ids }: Pick<Workspace, 'scores' | 'ids'>, count: number, crossing: number) {
  if (atCrossing.length < count) atCrossing = new Int32Array(count)
  let numBetter = 0
  let numAtCrossing = 0
  for (let i = 0; i < count; i++) {
    const token = ids[i]!
    const bin = binOf(scores[token]!)
    if (bin > crossing) continue
    if (bin === crossing) atCrossing[numAtCrossing++] = token
    else ids[numBetter++] = token
  }
  ids.set(atCrossing.subarray(0, numAtCrossing), numBetter)
  return { numBetter, numAtCrossing }
}
