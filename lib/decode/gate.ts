// Top-k of the gate in float32: which experts a row goes to, with which weights.
//
// Invariants
//   G1  Ties go to the lower expert id.
//   G2  A row's choice depends on its own logits only.

import type { FfnLayerSpec } from '../model/spec.js'

/** Experts of each row: [rows, width], experts ascending within a row. */
export interface Routes {
  readonly width: number // experts per row
  readonly experts: Int32Array
  readonly weights: Float32Array
}

/** Columns of the gate's logits: routed experts, then the shared expert's sigmoid gate. */
export const gateWidth = (ffn: FfnLayerSpec): number =>
  (ffn.gate === undefined ? 0 : ffn.experts.length) + (ffn.always?.sigmoidGate === undefined ? 0 : 1)

/**
 * Chooses experts from gate logits [rows, routed + (sigmoid gate ? 1 : 0)], `stride` floats from row to row; `logits` is
 * absent for a dense layer.
 */
export function route(ffn: FfnLayerSpec, rows: number, logits?: Float32Array, stride = gateWidth(ffn)): Routes {
  const numRouted = ffn.experts.length
  const topK = ffn.gate?.topK ?? 0
  const width = topK + (ffn.always === undefined ? 0 : 1)
  const experts = new Int32Array(rows * width)
  const weights = new Float32Array(rows * width)
  for (let row = 0; row < rows; row++) {
    const scores = logits?.subarray(row * stride, (row + 1) * stride) ?? new Float32Array(0)
    if (ffn.gate !== undefined) {
      const chosen = best(scores, numRouted, topK)
      const shares = weigh(scores.subarray(0, numRouted), chosen, ffn.gate)
      experts.set(chosen, row * width)
      weights.set(shares, row * width)
    }
    if (ffn.always !== undefined) {
      experts[row * width + topK] = numRouted
      weights[row * width + topK] = ffn.always.sigmoidGate !== undefined ? 1 / (1 + Math.exp(-scores[numRouted]!)) : 1
    }
  }
  return { width, experts, weights }
}

/** Ids of the k largest logits, ascending by id. */
function best(scores: Float32Array, numExperts: number, k: number): number[] {
  const chosen: number[] = [] // by falling score, ties by rising id
  for (let expert = 0; expert < numExperts; expert++) {
    const score = scores[expert]!
    if (chosen.length === k && score <= scores[chosen[k - 1]!]!) continue
    if (chosen.length === k) chosen.pop()
    let place = chosen.length
    while (place > 0 && scores[chosen[place - 1]!]! < score) place -= 1
    chosen.splice(place, 0, expert)
  }
  return chosen.sort((a, b) => a - b)
}

function weigh(scores: Float32Array, chosen: readonly number[], gate: NonNullable<FfnLayerSpec['gate']>): number[] {
  let max = -Infinity
  for (let i = 0; i < scores.length; i++) max = Math.max(max, scores[i]!)
  const exps = chosen.map((expert) => Math.exp(scores[expert]! - max))
  let denominator = 0
  if (gate.scores === 'softmax-of-chosen' || gate.renormalise) for (const value of exps) denominator += value
  else for (let i = 0; i < scores.length; i++) denominator += Math.exp(scores[i]! - max)
  return exps.map((value) => value / denominator)
}
