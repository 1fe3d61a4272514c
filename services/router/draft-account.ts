// What drafts bring and cost, in tokens and milliseconds, by measured times: against the step that the same sequences
// would have had without drafts, as the cost model knows it and steps without them in between correct it.

import { createFit } from './cost-fit.js'
import { shapeOf, withNodes, type StepShape } from './step-shape.js'
import { decodeRows, isDecoding, rootOnly, type Rows, type Sequence } from './sequence.js'
import type { CostModel } from './cost-model.js'
import type { DraftOutcome } from './draft-pace.js'
import type { DraftedStep } from './speculation.js'

const FIRST_BETWEEN_MS = 0.5
const FIRST_NODES = 8
const FIRST_GAINED = 2
const ASK_TERMS = 3 // a constant, sequences, tokens of theirs that the drafter has not seen
const COLD_ASKS = 4 // the first ones find code that is not compiled yet
const MAX_ADDED_SHARE = 4
const MOST_BETWEEN_TIMES = 3 // the usual: what takes longer was not the loop's doing
const RATE = 0.1 // of learning
const PLAIN_RATE = 0.2
const DRAFT_RATE = 0.03
const MAX_TIMES = 2 // the usual: what takes longer was not the drafts' doing

/** The nodes that were accepted of each sequence's tree, the root included. */
export type AcceptedNodes = ReadonlyMap<Sequence, readonly number[]>

/** What drafts would cost in a step, in tokens that the time would yield. */
export interface DraftPrice {
  readonly fixed: number // of asking at all
  readonly each: number // of a sequence's draft
  readonly node: number // of one node of it
}

export interface DraftAccount {
  /** From the end of a step with drafts to the next question: verifying, emitting, scheduling. */
  readonly betweenMs: number
  /** A step of sequences that decode begins, so long after the last one, which had drafts or had none. */
  follows(gapMs: number, isDrafted: boolean): void
  /** What so many decoding sequences yield now, drafts and all; 0: not known. */
  tokensPerMs(decoding: number): number
  /** Of drafts for this step, which has none yet. */
  price(plain: StepShape): DraftPrice
  /** Takes a step in; what the draft of each sequence that was asked for brought and cost. */
  settle(step: DraftedStep, accepted: AcceptedNodes, durationMs: number): ReadonlyMap<Sequence, DraftOutcome>
}

export function createDraftAccount(cost: CostModel): DraftAccount {
  const rates = new Map<number, number>() // tokens per millisecond by the number of sequences that decode
  const waits = createFit(ASK_TERMS)
  let numAsks = 0
  const between = { plainMs: FIRST_BETWEEN_MS, draftedMs: FIRST_BETWEEN_MS }
  let plainShare = 1 // what steps without drafts between such with drafts take, of what the cost model predicts
  let numNodes = FIRST_NODES // of a draft
  let numGained = FIRST_GAINED // by a draft
  const addedMs = { measured: 0, predicted: 0 } // to the last steps by their drafts, fading

  const addedShare = (): number =>
    addedMs.predicted <= 0 ? 1 : Math.min(MAX_ADDED_SHARE, Math.max(0, addedMs.measured / addedMs.predicted))

  /** A wait without what is out of the usual, from which the usual is learned. */
  const clippedWait = ({ asked, unread, waitedMs }: DraftedStep): number => {
    const terms = [1, asked.length, unread]
    const usual = waits.predict(terms)
    if ((numAsks += 1) > COLD_ASKS) waits.observe(terms, waitedMs, asked.length)
    return usual === 0 ? waitedMs : Math.min(waitedMs, MAX_TIMES * usual)
  }

  const countRate = ({ rows, shape, waitedMs }: DraftedStep, accepted: AcceptedNodes, durationMs: number): void => {
    if (shape.decoding === 0) return
    const numTokens = ({ sequence }: Rows): number => (isDecoding(sequence) ? (accepted.get(sequence)?.length ?? 0) : 0)
    const tokens = rows.reduce((sum, row) => sum + numTokens(row), 0)
    const rate = tokens / (between.draftedMs + waitedMs + durationMs)
    const known = rates.get(shape.decoding) ?? rate
    rates.set(shape.decoding, known + RATE * (rate - known))
  }

  const judgePlain = ({ shape }: DraftedStep, durationMs: number): void => {
    const share = durationMs / cost.predict(shape)
    plainShare += PLAIN_RATE * (Math.min(MAX_TIMES, Math.max(1 / MAX_TIMES, share)) - plainShare)
  }

  /** Milliseconds that a step took more: those of asking, and those of its nodes. */
  const extraMs = (step: DraftedStep, durationMs: number) => {
    const { rows, choice } = step
    const waitMs = clippedWait(step)
    if (!cost.isKnown) return { asking: waitMs, nodes: 0 }
    const undrafted = plainShare * cost.predict(shapeOf(rows.map(withoutDraft)))
    const slept = Math.max(0, choice.plainMs - undrafted)
    const took = Math.min(durationMs, MAX_TIMES * choice.predictedMs)
    const nodes = took - undrafted - slept
    addedMs.measured += DRAFT_RATE * (took - undrafted - addedMs.measured)
    addedMs.predicted += DRAFT_RATE * (choice.predictedMs - undrafted - addedMs.predicted)
    return { asking: waitMs + slept, nodes }
  }

  return {
    get betweenMs() {
      return between.draftedMs
    },
    follows: (gapMs, isDrafted) => {
      const which = isDrafted ? 'draftedMs' : 'plainMs'
      between[which] += RATE * (Math.min(gapMs, MOST_BETWEEN_TIMES * between[which]) - between[which])
    },
    tokensPerMs: (decoding) => rates.get(decoding) ?? 0,
    price: (plain) => {
      const { decoding } = plain
      if (!cost.isKnown || decoding === 0) return { fixed: 0, each: 0, node: 0 }
      const undrafted = plainShare * cost.predict(plain)
      const asleep = { ...plain, afterDraft: 1 }
      const asleepMs = cost.predict(asleep)
      const share = addedShare()
      const nodesMs = (share * (cost.predict(withNodes(asleep, numNodes * decoding)) - asleepMs)) / decoding
      const [askMs = 0, sequenceMs = 0, tokenMs = 0] = waits.coefficients
      const tokensPerMs = decoding / (between.plainMs + undrafted)
      const emittingMs = Math.max(0, between.draftedMs - between.plainMs)
      return {
        fixed: tokensPerMs * (askMs + emittingMs + share * Math.max(0, asleepMs - undrafted)),
        each: tokensPerMs * (sequenceMs + (1 + numGained) * tokenMs + nodesMs),
        node: (tokensPerMs * nodesMs) / numNodes,
      }
    },
    settle: (step, accepted, durationMs) => {
      countRate(step, accepted, durationMs)
      const { asked, drafts } = step
      if (step.isControl && cost.isKnown) judgePlain(step, durationMs)
      if (asked.length === 0) return new Map()
      const { asking, nodes } = extraMs(step, durationMs)
      const numDrafted = (sequence: Sequence): number => (drafts.get(sequence)?.nodes.length ?? 1) - 1
      const numAsked = asked.reduce((total, sequence) => total + numDrafted(sequence), 0)
      const numAll = [...drafts.keys()].reduce((total, sequence) => total + numDrafted(sequence), 0)
      numNodes += DRAFT_RATE * (Math.max(1, numAsked / asked.length) - numNodes)
      return new Map(
        asked.map((sequence) => {
          const share = numAll === 0 ? 1 / asked.length : numDrafted(sequence) / numAll
          const gained = Math.max(0, (accepted.get(sequence)?.length ?? 1) - 1)
          numGained += (DRAFT_RATE / asked.length) * (gained - numGained)
          return [sequence, { gained, costMs: asking / asked.length + nodes * share }]
        }),
      )
    },
  }
}

const withoutDraft = (rows: Rows): Rows =>
  isDecoding(rows.sequence) ? decodeRows(rows.sequence, rootOnly(rows.sequence)) : rows
