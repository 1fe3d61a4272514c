// What changes the logits before temperature: bias, the ban on early end tokens, and the penalties, in this order.
//
// Invariants
//   P1  Every rule sees the committed tokens and the path to the node alike: it counts `context.tokens`, nothing else.
//   P2  `counts` is all zero before and after.

import { ClusterError } from '../errors.js'
import type { SamplingParams } from './params.js'
import type { Workspace } from './workspace.js'

/** What the next token is sampled after. */
export interface SampleContext {
  readonly tokens: ArrayLike<number> // prompt, output so far and the path to the tree node
  readonly promptLength: number
}

const areEndTokensBanned = (params: SamplingParams, { tokens, promptLength }: SampleContext): boolean =>
  tokens.length - promptLength < params.minTokens && params.endTokenIds.length > 0

/** Whether `adjustScores` would change anything. */
export function needsAdjustment(params: SamplingParams, context: SampleContext): boolean {
  return (
    params.logitBias.length > 0 ||
    params.repetitionPenalty !== 1 ||
    params.presencePenalty !== 0 ||
    params.frequencyPenalty !== 0 ||
    areEndTokensBanned(params, context)
  )
}

/** Applies bias, ban and penalties to `workspace.scores` ([vocab]) in place. */
export function adjustScores(workspace: Workspace, params: SamplingParams, context: SampleContext): void {
  const { scores } = workspace
  for (const [token, bias] of params.logitBias) {
    if (token >= scores.length) {
      throw new ClusterError('invalid_argument', `logit bias: want a token below ${scores.length}, got ${token}`)
    }
    scores[token]! += bias
  }
  if (areEndTokensBanned(params, context)) {
    for (const token of params.endTokenIds) if (token < scores.length) scores[token] = -Infinity
  }
  if (params.repetitionPenalty !== 1) penaliseRepetition(workspace, params.repetitionPenalty, context)
  if (params.presencePenalty !== 0 || params.frequencyPenalty !== 0) penaliseOutput(workspace, params, context)
}

/** A token of prompt or output: a positive score is divided, a negative one multiplied; once per token. */
function penaliseRepetition({ scores, counts }: Workspace, penalty: number, { tokens }: SampleContext): void {
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!
    if (counts[token] !== 0) continue
    counts[token] = 1
    const score = scores[token]!
    scores[token] = score > 0 ? score / penalty : score * penalty
  }
  for (let i = 0; i < tokens.length; i++) counts[tokens[i]!] = 0
}

function penaliseOutput({ scores, counts }: Workspace, params: SamplingParams, context: SampleContext): void {
  const { tokens, promptLength } = context
  for (let i = promptLength; i < tokens.length; i++) counts[tokens[i]!]!++
  for (let i = promptLength; i < tokens.length; i++) {
    const token = tokens[i]!
    const count = counts[token]!
    if (count === 0) continue
    scores[token]! -= params.presencePenalty + params.frequencyPenalty * count
    counts[token] = 0
  }
}
