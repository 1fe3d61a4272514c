// What drafts bring and cost, in tokens and milliseconds, by measured times: against the step that the same sequences
// would have had without drafts, as the cost model knows it and steps without them in between correct it.

import { shapeOf } from './step-shape.js'
import { decodeRows, isDecoding, rootOnly, type Rows, type Sequence } from './sequence.js'
import type { CostModel } from './cost-model.js'
import type { DraftOutcome } from './draft-pace.js'
import type { DraftedStep } from './speculation.js'

const FIRST_BETWEEN_MS = 0.5
const MOST_BETWEEN_TIMES = 3 // the usual: what takes longer was not the loop's doing
const RATE = 0.1 // of learning
const PLAIN_RATE = 0.2
const MAX_TIMES = 2 // the usual: what takes longer was not the drafts' doing

/** The nodes that were accepted of each sequence's tree, the root included. */
export type AcceptedNodes = ReadonlyMap<Sequence, readonly number[]>

export interface DraftAccount {
  /** From the end of a step to the next question: verifying, emitting, scheduling. */
  readonly betweenMs: number
  /** A step of sequences that decode begins, so long after the last one. */
  follows(gapMs: number): void
  /** What so many decoding sequences yield now, drafts and all; 0: not known. */
  tokensPerMs(decoding: number): number
  /** Takes a step in; what the draft of each sequence that was asked for brought and cost. */
  settle(step: DraftedStep, accepted: AcceptedNodes, durationMs: number): ReadonlyMap<Sequence, DraftOutcome>
}

export function createDraftAccount(cost: CostModel): DraftAccount {
  const rates = new Map<number, number>() // tokens per millisecond by the number of sequences that decode
  let usualWaitMs = 0
  let betweenMs = FIRST_BETWEEN_MS
  let plainShare = 1 // what steps without drafts between such with drafts take, of what the cost model predicts

  /** A wait without what is out of the usual: a first question finds code that is not compiled yet. */
  const clippedWait = (waitedMs: number): number => {
    const ms = usualWaitMs === 0 ? waitedMs : Math.min(waitedMs, MAX_TIMES * usualWaitMs)
    if (waitedMs > 0) usualWaitMs = usualWaitMs === 0 ? ms : usualWaitMs + RATE * (ms - usualWaitMs)
    return ms
  }

  const countRate = ({ rows, shape, waitedMs }: DraftedStep, accepted: AcceptedNodes, durationMs: number): void => {
    if (shape.decoding === 0) return
    const numTokens = ({ sequence }: Rows): number => (isDecoding(sequence) ? (accepted.get(sequence)?.length ?? 0) : 0)
    const tokens = rows.reduce((sum, row) => sum + numTokens(row), 0)
    const rate = tokens / (betweenMs + waitedMs + durationMs)
    const known = rates.get(shape.decoding) ?? rate
    rates.set(shape.decoding, known + RATE * (rate - known))
  }

  const judgePlain = ({ shape }: DraftedStep, durationMs: number): void => {
    const share = durationMs / cost.predict(shape)
    plainShare += PLAIN_RATE * (Math.min(MAX_TIMES, Math.max(1 / MAX_TIMES, share)) - plainShare)
  }

  /** Milliseconds that a step took more: those of asking, and those of its nodes. */
  const extraMs = ({ rows, waitedMs, choice }: DraftedStep, durationMs: number) => {
    const waitMs = clippedWait(waitedMs)
    if (!cost.isKnown) return { asking: waitMs, nodes: 0, undrafted: 0 }
    const undrafted = plainShare * cost.predict(shapeOf(rows.map(withoutDraft)))
    const slept = Math.max(0, choice.plainMs - undrafted)
    const took = Math.min(durationMs, MAX_TIMES * choice.predictedMs)
    return { asking: waitMs + slept, nodes: took - undrafted - slept, undrafted }
  }

  return {
    get betweenMs() {
      return betweenMs
    },
    follows: (gapMs) => {
      betweenMs += RATE * (Math.min(gapMs, MOST_BETWEEN_TIMES * betweenMs) - betweenMs)
    },
    tokensPerMs: (decoding) => rates.get(decoding) ?? 0,
    settle: (step, accepted, durationMs) => {
      countRate(step, accepted, durationMs)
      const { asked, drafts, shape } = step
      if (step.isControl && cost.isKnown) judgePlain(step, durationMs)
      if (asked.length === 0) return new Map()
      const { asking, nodes, undrafted } = extraMs(step, durationMs)
      const tokensPerMs = undrafted === 0 ? 0 : shape.decoding / (betweenMs + undrafted)
      const numDrafted = (sequence: Sequence): number => (drafts.get(sequence)?.nodes.length ?? 1) - 1
      const numNodes = asked.reduce((sum, sequence) => sum + numDrafted(sequence), 0)
      return new Map(
        asked.map((sequence) => {
          const share = numNodes === 0 ? 1 / asked.length : numDrafted(sequence) / numNodes
          const costMs = asking / asked.length + nodes * share
          const gained = Math.max(0, (accepted.get(sequence)?.length ?? 1) - 1)
          return [sequence, { gained, cost: tokensPerMs * costMs, costMs }]
        }),
      )
    },
  }
}

const withoutDraft = (rows: Rows): Rows =>
  isDecoding(rows.sequence) ? decodeRows(rows.sequence, rootOnly(rows.sequence)) : rows
