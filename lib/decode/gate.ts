// The gate in float32: which experts a row goes to, with which weights.
//
// Invariants
//   G1  Ties go to the lower expert id, or to the lower group.
//   G2  A row's choice depends on its own logits only.

import type { FfnLayerSpec, GateSpec } from '../model/spec.js'

/** Experts of each row: [rows, width], experts ascending within a row. */
export interface Routes {
  readonly width: number // experts per row
  readonly experts: Int32Array
  readonly weights: Float32Array
}

/** Columns of the gate's logits: routed experts, then the shared expert's sigmoid gate. */
export const gateWidth = (ffn: FfnLayerSpec): number =>
  (ffn.gate === undefined ? 0 : ffn.experts.length) + (ffn.always?.sigmoidGate === undefined ? 0 : 1)

export interface GateRows {
  readonly stride?: number // floats from row to row of the logits; as many as columns, unless given
  /** Added to the scores for the choice: [routed]. */
  readonly correction?: Float32Array | undefined
}

/** Chooses experts from gate logits [rows, routed + (sigmoid gate ? 1 : 0)], which are absent for a dense layer. */
export function route(
  ffn: FfnLayerSpec,
  rows: number,
  logits?: Float32Array,
  { stride = gateWidth(ffn), correction }: GateRows = {},
): Routes {
  const numRouted = ffn.experts.length
  const topK = ffn.gate?.topK ?? 0
  const width = topK + (ffn.always === undefined ? 0 : 1)
  const experts = new Int32Array(rows * width)
  const weights = new Float32Array(rows * width)
  for (let row = 0; row < rows; row++) {
    const columns = logits?.subarray(row * stride, (row + 1) * stride) ?? new Float32Array(0)
    if (ffn.gate !== undefined) {
      const scores = scoresOf(ffn.gate, columns.subarray(0, numRouted))
      const chosen = best(forChoice(ffn.gate, scores, correction), topK)
      experts.set(chosen, row * width)
      weights.set(weigh(ffn.gate, scores, chosen), row * width)
    }
    if (ffn.always !== undefined) {
      experts[row * width + topK] = numRouted
      weights[row * width + topK] = ffn.always.sigmoidGate !== undefined ? sigmoid(columns[numRouted]!) : 1
    }
  }
  return { width, experts, weights }
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

/** What experts are compared by: logits, which a softmax keeps in order, or sigmoids of them. */
const scoresOf = ({ scores }: GateSpec, logits: Float32Array): Float32Array =>
  scores === 'sigmoid' ? logits.map(sigmoid) : logits

/** Scores with their correction; those of groups that are not chosen lie below all others. */
function forChoice({ groups }: GateSpec, scores: Float32Array, correction: Float32Array | undefined): Float32Array {
  const corrected = correction === undefined ? scores : scores.map((score, expert) => score + correction[expert]!)
  if (groups === undefined) return corrected
  const size = corrected.length / groups.count
  const groupScores = Float32Array.from({ length: groups.count }, (_, group) =>
    sumOfTwoBest(corrected.subarray(group * size, (group + 1) * size)),
  )
  const chosen = new Set(best(groupScores, groups.chosen))
  return corrected.map((score, expert) => (chosen.has(Math.floor(expert / size)) ? score : -Infinity))
}

function sumOfTwoBest(scores: Float32Array): number {
  const [first = 0, second = 0] = best(scores, 2)
  return scores[first]! + scores[second]!
}

/** Places of the k largest values, ascending. */
function best(values: Float32Array, k: number): number[] {
  const chosen: number[] = [] // by falling value, ties by rising place
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!
    if (chosen.length === k && value <= values[chosen[k - 1]!]!) continue
    if (chosen.length === k) chosen.pop()
    let place = chosen.length
    while (place > 0 && values[chosen[place - 1]!]! < value) place -= 1
    chosen.splice(place, 0, at)
  }
  return chosen.sort((a, b) => a - b)
}

function weigh(gate: GateSpec, scores: Float32Array, chosen: readonly number[]): number[] {
  const shares = gate.scores === 'sigmoid' ? sigmoidShares(gate, scores, chosen) : softmaxShares(gate, scores, chosen)
  const { scale } = gate
  return scale === undefined ? shares : shares.map((share) => share * scale)
}

/** DeepSeek-V3's: the small number keeps a sum of zero from dividing. */
function sigmoidShares({ renormalise }: GateSpec, scores: Float32Array, chosen: readonly number[]): number[] {
  const values = chosen.map((expert) => scores[expert]!)
  const denominator = renormalise ? values.reduce((sum, value) => sum + value, 0) + 1e-20 : 1
  return values.map((value) => value / denominator)
}

function softmaxShares(gate: GateSpec, logits: Float32Array, chosen: readonly number[]): number[] {
  let max = -Infinity
  for (let i = 0; i < logits.length; i++) max = Math.max(max, logits[i]!)
  const exps = chosen.map((expert) => Math.exp(logits[expert]! - max))
  let denominator = 0
  if (gate.scores === 'softmax-of-chosen' || gate.renormalise) for (const value of exps) denominator += value
  else for (let i = 0; i < logits.length; i++) denominator += Math.exp(logits[i]! - max)
  return exps.map((value) => value / denominator)
}
