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
  logits: Float32Array = new Float32Array(0),
  { stride = gateWidth(ffn), correction }: GateRows = {},
): Routes {
  const { gate, always } = ffn
  const numRouted = ffn.experts.length
  const topK = gate?.topK ?? 0
  const width = topK + (always === undefined ? 0 : 1)
  const experts = new Int32Array(rows * width)
  const weights = new Float32Array(rows * width)
  for (let row = 0; row < rows; row++) {
    const from = row * stride
    const to = row * width
    if (gate !== undefined) {
      const scores = scoresOf(gate, logits.subarray(from, from + numRouted))
      choose(forChoice(gate, scores, correction), experts, to, topK)
      weigh(gate, scores, { experts, weights, to, topK })
    }
    if (always !== undefined) {
      experts[to + topK] = numRouted
      weights[to + topK] = always.sigmoidGate !== undefined ? sigmoid(logits[from + numRouted]!) : 1
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
  const chosen = new Set(choose(groupScores, new Int32Array(groups.chosen), 0, groups.chosen))
  return corrected.map((score, expert) => (chosen.has(Math.floor(expert / size)) ? score : -Infinity))
}

function sumOfTwoBest(scores: Float32Array): number {
  const [first = 0, second = 0] = choose(scores, new Int32Array(2), 0, Math.min(2, scores.length))
  return scores[first]! + scores[second]!
}

/** Writes the places of the k largest values, ascending, to `chosen` from `to` on. */
function choose(values: Float32Array, chosen: Int32Array, to: number, k: number): Int32Array {
  for (let at = 0; at < values.length; at++) {
    const value = values[at]!
    let place = Math.min(at, k) // by falling value, ties by rising place
    while (place > 0 && values[chosen[to + place - 1]!]! < value) place -= 1
    if (place === k) continue
    for (let moved = Math.min(at, k - 1); moved > place; moved--) chosen[to + moved] = chosen[to + moved - 1]!
    chosen[to + place] = at
  }
  return sortPart(chosen, to, k)
}

/** Sorts a short part of a list in place. */
export function sortPart(list: Int32Array, from: number, length: number): Int32Array {
  for (let i = from + 1; i < from + length; i++) {
    const value = list[i]!
    let at = i
    for (; at > from && list[at - 1]! > value; at--) list[at] = list[at - 1]!
    list[at] = value
  }
  return list
}

/** A row's choice, and where its weights go. */
interface Chosen extends Pick<Routes, 'experts' | 'weights'> {
  readonly to: number
  readonly topK: number
}

function weigh(gate: GateSpec, scores: Float32Array, chosen: Chosen): void {
  if (gate.scores === 'sigmoid') weighSigmoids(gate, scores, chosen)
  else weighSoftmax(gate, scores, chosen)
}

/** DeepSeek-V3's: the small number keeps a sum of zero from dividing. */
function weighSigmoids({ renormalise, scale = 1 }: GateSpec, scores: Float32Array, chosen: Chosen): void {
  const { experts, weights, to, topK } = chosen
  let denominator = 0
  for (let i = to; i < to + topK; i++) denominator += scores[experts[i]!]!
  denominator = renormalise ? denominator + 1e-20 : 1
  for (let i = to; i < to + topK; i++) weights[i] = (scores[experts[i]!]! / denominator) * scale
}

function weighSoftmax(gate: GateSpec, logits: Float32Array, { experts, weights, to, topK }: Chosen): void {
  const { scale = 1 } = gate
  const ofChosen = gate.scores === 'softmax-of-chosen' || gate.renormalise
  let max = -Infinity
  for (let i = 0; i < logits.length; i++) max = Math.max(max, logits[i]!)
  let denominator = 0
  if (ofChosen) for (let i = to; i < to + topK; i++) denominator += Math.exp(logits[experts[i]!]! - max)
  else for (let i = 0; i < logits.length; i++) denominator += Math.exp(logits[i]! - max)
  for (let i = to; i < to + topK; i++) weights[i] = (Math.exp(logits[experts[i]!]! - max) / denominator) * scale
}
