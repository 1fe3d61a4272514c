// The best of a row of logits and the size of all: one pass each, without a logarithm or an exponential per token.

const TABLE_STEPS = 64 // per nat
const TABLE_NATS = 20 // tokens further behind the best add nothing that counts
const EXP = Float64Array.from({ length: TABLE_STEPS * TABLE_NATS + 1 }, (_, i) => Math.exp(-(i + 0.5) / TABLE_STEPS))

/** Ids of the k largest, best first, ties by lower id; k ≤ vocab. */
export function bestLogits(logits: Float32Array, k: number): Int32Array {
  const ids = new Int32Array(k)
  let least = lowerBound(logits, k)
  let count = 0
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!
    if (logit < least || (count === k && logit === least)) continue
    let place = count < k ? count++ : k - 1
    for (; place > 0 && logits[ids[place - 1]!]! < logit; place--) ids[place] = ids[place - 1]!
    ids[place] = id
    if (count === k) least = logits[ids[k - 1]!]!
  }
  return ids
}

/** A value that at least k of the logits reach: the k-th largest of the maxima of 2k pieces, which spares most sorting. */
function lowerBound(logits: Float32Array, k: number): number {
  const size = Math.floor(logits.length / (2 * k))
  if (size < 2) return -Infinity
  const maxima = new Float32Array(2 * k)
  for (let piece = 0, id = 0; piece < maxima.length; piece++) {
    let most = -Infinity
    for (const end = id + size; id < end; id++) if (logits[id]! > most) most = logits[id]!
    maxima[piece] = most
  }
  return maxima.sort()[k]!
}

/** log Σ exp(logit / temperature), to about a hundredth: a draft's estimates are no better. `best` is the largest. */
export function logSumExp(logits: Float32Array, best: number, temperature: number): number {
  const scale = TABLE_STEPS / temperature
  const limit = EXP.length - 1
  let sum = 0
  for (let id = 0; id < logits.length; id++) {
    const step = (best - logits[id]!) * scale
    if (step < limit) sum += EXP[step | 0]!
  }
  return best / temperature + Math.log(sum)
}
