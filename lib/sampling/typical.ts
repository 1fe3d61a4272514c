// Typical acceptance (Medusa, arXiv 2401.10774): which drafted children of a node are likely enough to be kept without
// having been sampled. LOSSY: at temperature > 0 the text no longer follows the target's distribution.
//
// Invariants
//   Y1  A child is kept where p(child) > min(epsilon, delta * exp(-H(p))): a flat p asks for less than a peaked one.
//   Y2  p is what the sampler would draw from: penalties, temperature, min-p, top-k and top-p as there.
//   Y3  At temperature 0 only the token that the sampler would choose is kept: the text stays the greedy one.

import { keepCandidates } from './candidates.js'
import type { SamplingParams } from './params.js'
import { adjustScores, type SampleContext } from './penalties.js'
import { selectBest } from './select-best.js'
import { workspaceFor, type Workspace } from './workspace.js'

export interface TypicalThresholds {
  readonly epsilon: number // (0, 1]: more probable than this is kept at any entropy
  readonly delta: number // of exp(-entropy in nats)
}

/** Medusa's own. */
export const MEDUSA_THRESHOLDS: TypicalThresholds = { epsilon: 0.09, delta: 0.3 }

export interface TypicalNode extends TypicalThresholds {
  readonly params: SamplingParams
  readonly context: SampleContext // up to the node, itself included
}

/** LOSSY. 1 for each of `children` (tokens) kept after the node of these `logits` ([vocab], untouched), 0 else. */
export function takeTypical(logits: Float32Array, children: ArrayLike<number>, node: TypicalNode): Uint8Array {
  if (children.length === 0) return new Uint8Array(0)
  const workspace = workspaceFor(logits.length)
  workspace.scores.set(logits)
  adjustScores(workspace, node.params, node.context)
  const best = bestToken(workspace)
  if (node.params.temperature === 0) return Uint8Array.from(children, (token) => (token === best ? 1 : 0))

  const { scores, ids } = workspace
  const kept = ids.subarray(0, keepCandidates(workspace, node.params, scores[best]!))
  const floor = scoreFloor(kept, scores, node)
  return Uint8Array.from(children, (token) => (scores[token]! > floor && kept.includes(token) ? 1 : 0))
}

/** The score above which a token of `kept` is typical: the log of the bound on p plus that of the normaliser. */
function scoreFloor(kept: Int32Array, scores: Float64Array, { epsilon, delta }: TypicalThresholds): number {
  let total = 0
  let weighted = 0
  for (let i = 0; i < kept.length; i++) {
    const score = scores[kept[i]!]!
    const weight = Math.exp(score)
    total += weight
    weighted += weight * score
  }
  const logTotal = Math.log(total)
  const entropy = logTotal - weighted / total
  return logTotal + Math.min(Math.log(epsilon), Math.log(delta) - entropy)
}

function bestToken({ scores, ids }: Workspace): number {
  for (let token = 0; token < scores.length; token++) ids[token] = token
  selectBest(ids, scores.length, 1, scores)
  return ids[0]!
}
