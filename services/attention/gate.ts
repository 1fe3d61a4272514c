// Top-k of the gate in float32: which experts a row goes to, with which weights.
//
// Invariants
//   G1  Ties go to the lower expert id.
//   G2  A row's choice depends on its own logits only.

import type { FfnLayerSpec } from '../../lib/model/spec.js'

/** Experts of each row: [rows, width], experts ascending within a row. */
export interface Routes {
  readonly width: number // experts per row
  readonly experts: Int32Array
  readonly weights: Float32Array
}

/** Chooses experts from gate logits [rows, routed + (sigmoid gate ? 1 : 0)]; `logits` is absent for a dense layer. */
export function route(ffn: FfnLayerSpec, rows: number, logits: Float32Array | undefined): Routes {
  const numRouted = ffn.experts.length
  const topK = ffn.gate?.topK ?? 0
  const width = topK + (ffn.always === undefined ? 0 : 1)
  const experts = new Int32Array(rows * width)
  const weights = new Float32Array(rows * width)
  const columns = numRouted + (ffn.always?.sigmoidGate === undefined ? 0 : 1)
  for (let row = 0; row < rows; row++) {
    const scores = logits?.subarray(row * columns, (row + 1) * columns) ?? new Float32Array(0)
    if (ffn.gate !== undefined) {
      const chosen = best(scores, numRouted, topK)
      const shares = weigh(scores.subarray(0, numRouted), chosen, ffn.gate)
      experts.set(chosen, row * width)
      weights.set(shares, row * width)
    }
    if (ffn.always !== undefined) {
      experts[row * width + topK] = numRouted
      weights[row * width + topK] = columns > numRouted ? 1 / (1 + Math.exp(-scores[numRouted]!)) : 1
    }
  }
  return { width, experts, weights }
}

/** Ids of the k largest logits, ascending by id. */
function best(scores: Float32Array, numExperts: number, k: number): number[] {
  const chosen: number[] = []
  for (let pick = 0; pick < k; pick++) {
    let top = -1
    for (let expert = 0; expert < numExperts; expert++) {
      if (!chosen.includes(expert) && (top < 0 || scores[expert]! > scores[top]!)) top = expert
    }
    chosen.push(top)
  }
  return chosen.sort((a, b) => a - b)
}

function weigh(scores: Float32Array, chosen: readonly number[], gate: NonNullable<FfnLayerSpec['gate']>): number[] {
  const max = scores.reduce((most, score) => Math.max(most, score), -Infinity)
  const exps = chosen.map((expert) => Math.exp(scores[expert]! - max))
  const isOverChosen = gate.softmaxOver === 'chosen' || gate.renormalise
  const denominator = isOverChosen
    ? exps.reduce((sum, value) => sum + value, 0)
    : scores.reduce((sum, score) => sum + Math.exp(score - max), 0)
  return exps.map((value) => value / denominator)
}
