// Where the drafts of a step come from. A drafter is asked for those sequences whose drafts bring more tokens than they
// cost. What they bring depends on the temperature, on how many sequences decode and, among several, on how far the text
// repeats itself; what they cost, on the batch. Of those that are not asked for one is tried now and then. Among several
// sequences a text that repeats itself may be copied from itself instead, which costs nothing but the nodes.
//
// Invariants
//   P1  Where drafts do not pay, tries take TRY_SHARE of the time at most in which some sequence takes drafts, however
//       many run: who wants none does not pay for them.
//   P2  Who is asked for in a step was known in the step before, which returned what drafters read, or is one whose text
//       has just begun or ceased to repeat itself.
//   P3  Speed only: nothing here changes a token.

import { sizeClass } from './cost-fit.js'
import type { DraftPrice } from './draft-account.js'
import { Repetition, repetitionClass, RepetitionOdds, type Chain } from './repetition.js'
import { numOutput, type Sequence } from './sequence.js'

const TRY_SHARE = 0.01
const FIRST_DRAFT_MS = 4
const TRY_LENGTH = 24 // drafts in a row: the first ones meet cold caches and a head that lacks the text's hidden states
const TRY_WARM_UP = 8 // of them are not judged
const MAX_TRIES = 2 // at a time
const WARM_UP = 32 // drafts that are not judged: every process runs code that is not compiled yet, and costs are unknown
const FIRST_GAIN = 2 // tokens that a draft is expected to bring before any was judged, and
const FIRST_REPEATS = 2 // times as many as were repeated lately
const PRIOR_DRAFTS = 16 // so many say as much as that
const SHARE_PRIOR = 64 // so many of its own as the usual does of a sequence
const USUAL_RATE = 0.004 // what one draft brings says little: 0 … 20 tokens
const SHARE_RATE = 0.015
const LEAST_USUAL = 0.1
const CLOSE = 0.6 // of its price a draft may bring, and may be asked for soon
const MAX_READING_SIZE = 1 // up to 4 sequences
const LEAST_COPY = 0.05 // value of a copied token
const COST_RATE = 0.015
const TRY_TIMES = 5 // as much does a draft of a try say: what is known besides is old
const MARGIN = 1.03 // drafts must yield so much more than they cost, or are not begun
const LEAST = 0.8 // those that are under way may yield so much less: an average errs, and a new start is dear
const MAX_KIND = 2 // 0: greedy, 1: temperatures up to 1, 2: others
const FREE: DraftPrice = { fixed: 0, each: 0, node: 0 }

export interface DraftPace {
  /** A step begins; the last one took so long. */
  turn(lastStepMs: number, step: DraftedBatch): void
  /** Whether to ask for the sequence in this step. */
  wants(sequence: Sequence): boolean
  /** What to verify in this step of a sequence that is not asked for: copied from its own text. */
  copyOf(sequence: Sequence): Chain | undefined
  /** Whether the next step will ask for it; asked once a step for a sequence that the step samples. */
  wantsNext(sequence: Sequence): boolean
  learn(sequence: Sequence, draft: DraftOutcome): void
}

export interface DraftedBatch {
  readonly decoding: readonly Sequence[]
  readonly price: DraftPrice
  readonly maxCopied: number // tokens after the root; 0: nothing may be copied
}

/** What a draft brought and cost. */
export interface DraftOutcome {
  readonly gained: number // tokens
  readonly costMs: number
}

/** What drafts bring: an average. */
interface Gain {
  value: number
  numDrafts: number
}

/** What is known of a sequence. */
interface Known {
  readonly repetition: Repetition
  readonly share: Gain // of what is usual where nothing is repeated: elsewhere sequences are alike
  isAsked: boolean
  readsOn: boolean // may be asked for soon: what a drafter reads is kept
  copy: Chain | undefined
}

export function createDraftPace(): DraftPace {
  const sequences = new WeakMap<Sequence, Known>()
  const odds = Array.from({ length: MAX_KIND + 1 }, () => new RepetitionOdds())
  const usualGains = new Map<string, Gain>()
  let price = FREE
  let size = 0 // of the batch: 1, up to 4, up to 16, …
  let doPayTogether = true // for the fixed part of the price
  let creditMs = 0 // for tries
  let draftMs = FIRST_DRAFT_MS // what one costs
  let numDrafts = 0
  const tries = new Map<Sequence, number>() // drafts since each try began

  const knownOf = (sequence: Sequence): Known => {
    const known = sequences.get(sequence) ?? {
      repetition: new Repetition(odds[kindOf(sequence)]!),
      share: { value: 1, numDrafts: 0 },
      isAsked: size <= MAX_READING_SIZE,
      readsOn: true,
      copy: undefined,
    }
    sequences.set(sequence, known)
    return known
  }

  const usualGain = (sequence: Sequence, streak: number): Gain => {
    const keyOf = (batch: number): string => `${kindOf(sequence)} ${batch === 0 ? 0 : repetitionClass(streak)} ${batch}`
    const known = usualGains.get(keyOf(size))
    if (known !== undefined) return known
    const first = { value: FIRST_GAIN + FIRST_REPEATS * streak, numDrafts: 0 }
    const smallest = streak === 0 ? 0 : 1 // one sequence alone: whatever it repeats
    for (let batch = smallest; batch < size; batch++) first.value = usualGains.get(keyOf(batch))?.value ?? first.value
    usualGains.set(keyOf(size), first)
    return first
  }

  /** What the next draft of a sequence that has repeated so many tokens may be expected to bring. */
  const worthOf = (sequence: Sequence, { share, isAsked }: Known, streak: number): number => {
    const usual = usualGain(sequence, streak).value
    const gain = size === 0 || streak === 0 ? share.value * usual : usual
    return Math.min(gain, tokensLeft(sequence) - 1) / (isAsked ? LEAST : MARGIN)
  }

  /** What to copy among several sequences, and the tokens that it brings less what its nodes cost. */
  const copyFor = (sequence: Sequence, { repetition }: Known, maxCopied: number) => {
    const most = size === 0 ? 0 : Math.min(maxCopied, tokensLeft(sequence) - 1)
    const copy = repetition.next(sequence.tokens, { most, least: Math.max(LEAST_COPY, price.node) })
    const gain = copy.values.reduce((sum, value) => sum + value - price.node, 0)
    return gain > 0 ? { copy, gain } : { copy: undefined, gain: 0 }
  }

  /** Looks for whom drafts pay, and whether for all of these together. */
  const judge = (decoding: readonly Sequence[], maxCopied: number): void => {
    const wanting = decoding.filter(takesDrafts).map((sequence) => {
      const known = knownOf(sequence)
      known.repetition.read(sequence.tokens, sequence.promptLength)
      const { copy, gain } = copyFor(sequence, known, maxCopied)
      known.copy = copy
      known.readsOn = size <= MAX_READING_SIZE && worthOf(sequence, known, 0) > CLOSE * (price.each + price.fixed)
      return { known, surplus: worthOf(sequence, known, known.repetition.streak) - price.each - gain }
    })
    doPayTogether = wanting.reduce((sum, { surplus }) => sum + Math.max(0, surplus), 0) > price.fixed
    for (const { known, surplus } of wanting) known.isAsked = doPayTogether && surplus > 0
  }

  const doesPay = (sequence: Sequence): boolean => numDrafts < WARM_UP || knownOf(sequence).isAsked

  const beginTry = (sequence: Sequence): boolean => {
    for (const [other] of tries) if (other.emitter.isClosed || !takesDrafts(other)) tries.delete(other)
    if (creditMs < TRY_LENGTH * draftMs || tries.size >= MAX_TRIES) return false
    tries.set(sequence, 0)
    return true
  }

  /** Counts a draft of a try; whether it is to be judged. */
  const countTry = (sequence: Sequence, costMs: number): boolean => {
    const tried = tries.get(sequence)
    if (tried === undefined) return true
    creditMs -= costMs
    if (tried + 1 === TRY_LENGTH) tries.delete(sequence)
    else tries.set(sequence, tried + 1)
    return tried >= TRY_WARM_UP
  }

  return {
    turn: (lastStepMs, { decoding, price: newPrice, maxCopied }) => {
      price = amongOthers(newPrice, decoding.length)
      size = Math.ceil(sizeClass(decoding.length) / 2)
      judge(decoding, maxCopied)
      if (!decoding.some(takesDrafts)) return
      creditMs = Math.min(TRY_LENGTH * draftMs, creditMs + TRY_SHARE * lastStepMs)
    },
    wants: (sequence) => takesDrafts(sequence) && (tries.has(sequence) || doesPay(sequence)),
    copyOf: (sequence) => (takesDrafts(sequence) ? knownOf(sequence).copy : undefined),
    wantsNext: (sequence) => {
      if (!takesDrafts(sequence)) return false
      return tries.has(sequence) || doesPay(sequence) || beginTry(sequence) || knownOf(sequence).readsOn
    },
    learn: (sequence, { gained, costMs }) => {
      numDrafts += 1
      if (numDrafts < WARM_UP) return
      draftMs += COST_RATE * (Math.max(0, costMs) - draftMs)
      const times = tries.has(sequence) ? TRY_TIMES : 1
      if (!countTry(sequence, costMs)) return
      const known = knownOf(sequence)
      const { streak } = known.repetition
      const usual = usualGain(sequence, streak)
      if (size === 0 || streak === 0)
        learnFrom(known.share, gained / Math.max(LEAST_USUAL, usual.value), {
          rate: times * SHARE_RATE,
          prior: SHARE_PRIOR,
        })
      learnFrom(usual, gained, { rate: times * USUAL_RATE, prior: PRIOR_DRAFTS })
    },
  }
}

/** Every sequence that takes drafts, at every step. */
export const UNPACED_DRAFTS: DraftPace = {
  turn: () => undefined,
  copyOf: () => undefined,
  wants: (sequence) => takesDrafts(sequence),
  wantsNext: (sequence) => takesDrafts(sequence),
  learn: () => undefined,
}

/** What a draft costs one of so many sequences that decode: the others wait as long, and it gains nothing for them. */
const amongOthers = ({ fixed, each, node }: DraftPrice, numSequences: number): DraftPrice => {
  const times = 2 - 1 / Math.max(1, numSequences)
  return { fixed: times * fixed, each: times * each, node }
}

const kindOf = ({ sampling }: Sequence): number => Math.min(MAX_KIND, Math.ceil(sampling.temperature))

const tokensLeft = (sequence: Sequence): number => sequence.limits.maxTokens - numOutput(sequence)

const takesDrafts = (sequence: Sequence): boolean => sequence.drafts && tokensLeft(sequence) >= 2

/** An average of the first drafts, later one that forgets. */
function learnFrom(gain: Gain, gained: number, { rate, prior }: { rate: number; prior: number }): void {
  gain.numDrafts += 1
  gain.value += Math.max(rate, 1 / (gain.numDrafts + prior)) * (gained - gain.value)
}
