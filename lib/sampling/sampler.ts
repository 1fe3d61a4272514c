// Chooses one token from logits. The only place of the project where that happens: plain decoding and every node of a
// token tree call it, which is why speculation cannot change the text.
//
// Invariants
//   S1  A pure function of (logits, params, choice, context): no clock, no state, no hidden randomness (I1).
//   S2  The order is: logit bias, min tokens, repetition, presence and frequency penalties; then argmax at temperature
//       0, else temperature, min-p, top-k, top-p, Gumbel-max.
//   S3  float64 throughout; ties by lower id everywhere.

import { ClusterError } from '../errors.js'
import { keepCandidates } from './candidates.js'
import { drawGumbelMax } from './draw.js'
import { tokenLogprobs } from './logprobs.js'
import { noiseKey } from './noise.js'
import type { SamplingParams, TokenLogprobs } from './params.js'
import { adjustScores, needsAdjustment, type SampleContext } from './penalties.js'
import { workspaceFor, type Workspace } from './workspace.js'

export type { SampleContext } from './penalties.js'

/** Part of the fingerprint: changes whenever the same logits and parameters could give another token. */
export const SAMPLER_VERSION = 'gumbel-philox-1'

export interface Sample {
  readonly token: number
  readonly logprobs?: TokenLogprobs // where the parameters ask for them
}

export interface Sampler {
  /**
   * The token after `context.tokens`, whose length is its absolute position; `logits` is [vocab] and left untouched.
   * Throws `internal` where a logit is NaN or +Infinity, or where no token is left to choose.
   */
  sample(logits: Float32Array, context: SampleContext): Sample
}

/** The sampler of one choice of a request. */
export function createSampler(params: SamplingParams, choice: number): Sampler {
  const noise = noiseKey(params.seed, choice)

  const choose = (logits: Float32Array, context: SampleContext, workspace: Workspace): number => {
    const isGreedy = params.temperature === 0
    if (isGreedy && !needsAdjustment(params, context)) return argmax(logits)
    const { scores, ids } = workspace
    scores.set(logits)
    checkFinite(logits)
    adjustScores(workspace, params, context)
    const best = argmax(scores)
    if (isGreedy) return best
    const count = keepCandidates(workspace, params, scores[best]!)
    return drawGumbelMax({ ids, count, scores, best }, noise, context.tokens.length)
  }

  return {
    sample: (logits, context) => {
      const workspace = workspaceFor(logits.length)
      const token = choose(logits, context, workspace)
      if (params.logprobs < 0) return { token }
      return { token, logprobs: tokenLogprobs(logits, token, params.logprobs, workspace.ids) }
    },
  }
}

/**
 * The first of the largest values. Eight at a time are passed over, as hardly any hold a new best: four times as fast as a
 * branch for each.
 */
function argmax(values: Float32Array | Float64Array): number {
  let best = -1
  let most = -Infinity
  for (let i = 0; i < values.length;) {
    if (i + 8 <= values.length && isNoneAbove(values, i, most)) {
      i += 8
      continue
    }
    const value = values[i]!
    if (!(value <= most)) {
      if (value !== value) throw badLogit(i, value)
      most = value
      best = i
    }
    i += 1
  }
  if (best === -1)
    throw new ClusterError('internal', `no token can be sampled: all ${values.length} logits are -Infinity`)
  if (most === Infinity) throw badLogit(best, most)
  return best
}

/** Whether eight values are numbers up to `most`. */
const isNoneAbove = (values: Float32Array | Float64Array, i: number, most: number): boolean =>
  values[i]! <= most &&
  values[i + 1]! <= most &&
  values[i + 2]! <= most &&
  values[i + 3]! <= most &&
  values[i + 4]! <= most &&
  values[i + 5]! <= most &&
  values[i + 6]! <= most &&
  values[i + 7]! <= most

function checkFinite(logits: Float32Array): void {
  for (let i = 0; i < logits.length; i++) if (!(logits[i]! < Infinity)) throw badLogit(i, logits[i]!)
}

const badLogit = (token: number, value: number): ClusterError =>
  new ClusterError('internal', `logit of token ${token}: want a finite number or -Infinity, got ${value}`)
