// Raw log-probabilities: log-softmax in float64 of the logits as the model gave them, before any warping.

import type { TokenLogprobs } from './params.js'
import { selectBest } from './select-best.js'

/** Of `token` and of the `numTop` best tokens (best first, ties by lower id); `ids` is scratch, [vocab]. */
export function tokenLogprobs(logits: Float32Array, token: number, numTop: number, ids: Int32Array): TokenLogprobs {
  let max = -Infinity
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!
  let total = 0
  for (let i = 0; i < logits.length; i++) {
    ids[i] = i
    total += Math.exp(logits[i]! - max)
  }
  const logTotal = Math.log(total)
  const logprobOf = (id: number): number => logits[id]! - max - logTotal
  const k = Math.min(numTop, logits.length)
  if (k > 0) selectBest(ids, logits.length, k, logits)
  const top = Array.from(ids.subarray(0, k), (id) => ({ token: id, logprob: logprobOf(id) }))
  return { token, logprob: logprobOf(token), top }
}
