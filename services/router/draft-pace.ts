// For which sequences a drafter is asked in a step: those whose drafts have lately yielded more tokens than they cost. Of
// the others one is tried now and then, and asked for at every step once that pays.
//
// Invariants
//   P1  Where drafts do not pay, tries take TRY_SHARE of the time at most in which some sequence takes drafts, however
//       many run: who wants none does not pay for them.
//   P2  Who is asked for in a step was known in the step before, which returned what drafters read.
//   P3  Speed only: nothing here changes a token.

import { numOutput, type Sequence } from './sequence.js'

const TRY_SHARE = 0.01
const FIRST_DRAFT_MS = 4
const TRY_LENGTH = 24 // drafts in a row: the first ones meet cold caches and a head that lacks the text's hidden states
const TRY_WARM_UP = 8 // of them are not judged
const MAX_TRIES = 2 // at a time
const WARM_UP = 32 // drafts that are not judged: every process runs code that is not compiled yet, and costs are unknown
const PRIOR_DRAFTS = 16 // so much does say what is expected before any was judged
const RATE = 0.015 // what one draft brings says little: 0 … 20 tokens
const USUAL_RATE = 0.004
const TRY_TIMES = 5 // as much does a draft of a try say: what is known besides is old
const MARGIN = 1.03 // drafts must yield so much more than they cost, or are not begun
const MAX_KIND = 2 // 0: greedy, 1: temperatures up to 1, 2: others
const LEAST = 0.95 // those that are under way may yield so much less: an average errs, and a new start is dear

export interface DraftPace {
  /** A step of these sequences begins; the last one took so long. */
  turn(lastStepMs: number, decoding: readonly Sequence[]): void
  /** Whether to ask for the sequence in this step. */
  wants(sequence: Sequence): boolean
  /** Whether the next step will ask for it; asked once a step for a sequence that the step samples. */
  wantsNext(sequence: Sequence): boolean
  learn(sequence: Sequence, draft: DraftOutcome): void
}

/** What a draft brought and cost. */
export interface DraftOutcome {
  readonly gained: number // tokens
  readonly cost: number // tokens that its time would have yielded
  readonly costMs: number
}

interface Balance {
  gain: number
  cost: number
  pays: boolean
}

/** What a sequence that was never drafted for is expected to be like. */
interface Usual extends Balance {
  numJudged: number // drafts
}

export function createDraftPace(): DraftPace {
  const balances = new WeakMap<Sequence, Balance>() // of those that were drafted for
  const usuals = new Map<number, Usual>() // by kind
  let creditMs = 0 // for tries
  let draftMs = FIRST_DRAFT_MS // what one costs
  let numDrafts = 0
  const tries = new Map<Sequence, number>() // drafts since each try began

  /** Greedy text repeats itself, and what is drawn at a high temperature can hardly be guessed. */
  const usualOf = ({ sampling }: Sequence): Usual => {
    const kind = Math.min(MAX_KIND, Math.ceil(sampling.temperature))
    const usual = usuals.get(kind) ?? { gain: 2, cost: 1, pays: true, numJudged: 0 }
    usuals.set(kind, usual)
    return usual
  }

  const doPay = (sequence: Sequence): boolean =>
    numDrafts < WARM_UP || (balances.get(sequence) ?? usualOf(sequence)).pays

  const beginTry = (sequence: Sequence): boolean => {
    for (const [other] of tries) if (other.emitter.isClosed || !takesDrafts(other)) tries.delete(other)
    if (creditMs < TRY_LENGTH * draftMs || tries.size >= MAX_TRIES) return false
    tries.set(sequence, 0)
    return true
  }

  return {
    turn: (lastStepMs, decoding) => {
      if (!decoding.some(takesDrafts)) return
      creditMs = Math.min(TRY_LENGTH * draftMs, creditMs + TRY_SHARE * lastStepMs)
    },
    wants: (sequence) => takesDrafts(sequence) && (tries.has(sequence) || doPay(sequence)),
    wantsNext: (sequence) => takesDrafts(sequence) && (tries.has(sequence) || doPay(sequence) || beginTry(sequence)),
    learn: (sequence, { gained, cost, costMs }) => {
      numDrafts += 1
      if (numDrafts < WARM_UP) return
      draftMs += RATE * (costMs - draftMs)
      const tried = tries.get(sequence)
      if (tried !== undefined) {
        creditMs -= costMs
        if (tried + 1 === TRY_LENGTH) tries.delete(sequence)
        else tries.set(sequence, tried + 1)
        if (tried < TRY_WARM_UP) return
      }
      const usual = usualOf(sequence)
      const balance = balances.get(sequence) ?? { gain: usual.gain, cost: usual.cost, pays: usual.pays }
      balances.set(sequence, balance)
      const times = tried === undefined ? 1 : TRY_TIMES
      addTo(balance, { gain: gained, cost }, times * RATE)
      usual.numJudged += 1
      addTo(usual, { gain: gained, cost }, Math.max(times * USUAL_RATE, 1 / (usual.numJudged + PRIOR_DRAFTS)))
    },
  }
}

/** Every sequence that takes drafts, at every step. */
export const UNPACED_DRAFTS: DraftPace = {
  turn: () => undefined,
  wants: (sequence) => takesDrafts(sequence),
  wantsNext: (sequence) => takesDrafts(sequence),
  learn: () => undefined,
}

const takesDrafts = (sequence: Sequence): boolean =>
  sequence.drafts && sequence.limits.maxTokens - numOutput(sequence) >= 2

function addTo(mean: Balance, { gain, cost }: Pick<Balance, 'gain' | 'cost'>, rate: number): void {
  mean.gain += rate * (gain - mean.gain)
  mean.cost += rate * (cost - mean.cost)
  mean.pays = mean.gain > (mean.pays ? LEAST : MARGIN) * mean.cost
}
