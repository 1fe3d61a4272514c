// The draw itself: the candidate with the largest score plus noise (Gumbel-max), which is an exact sample of softmax.

import { gumbelOf, MAX_GUMBEL, type Noise } from './noise.js'

// A candidate that is at least k behind the leader needs noise above k, so a uniform above exp(-exp(-k)). Comparing
// the uniform first spares most candidates both logarithms. The slack covers rounding: a skipped candidate would lose.
const SLACK = 1e-6
const UNIFORM_NEEDED = Float64Array.from({ length: 21 }, (_, k) => Math.exp(-Math.exp(-(k - SLACK))))
const LAST_STEP = UNIFORM_NEEDED.length - 1

export interface Candidates {
  readonly ids: Int32Array // [≥ count]
  readonly count: number
  readonly scores: Float64Array // [vocab], log-probabilities up to a constant; 0 for `best`, nothing above
  readonly best: number
}

/** The token drawn at `position`; ties go to the lower id. The order of `ids` does not matter. */
export function drawGumbelMax({ ids, count, scores, best }: Candidates, noise: Noise, position: number): number {
  let leader = best
  let leading = noise.gumbel(position, best)
  for (let i = 0; i < count; i++) {
    const token = ids[i]!
    const score = scores[token]!
    const behind = leading - score
    if (behind > MAX_GUMBEL || token === best) continue
    const uniform = noise.uniform(position, token)
    if (behind >= 0 && uniform <= UNIFORM_NEEDED[Math.min(behind | 0, LAST_STEP)]!) continue
    const perturbed = score + gumbelOf(uniform)
    if (perturbed > leading || (perturbed === leading && token < leader)) {
      leader = token
      leading = perturbed
    }
  }
  return leader
}
