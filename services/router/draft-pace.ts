// For which sequences a drafter is asked in a step: those whose drafts have lately yielded more tokens than they cost. Of
// the others a few are tried now and then, and asked for at every step once that pays.
//
// Invariants
//   P1  A sequence that drafts never help is tried ever less often: its pauses double, up to MAX_PAUSE steps.
//   P2  However many sequences run, MAX_TRIES of them at most are tried in a step: where drafts do not pay, they cost all
//       streams together no more than one.
//   P3  Who is asked for in a step was known in the step before, which returned what drafters read.
//   P4  Speed only: nothing here changes a token.

import { numOutput, type Sequence } from './sequence.js'

const MAX_PAUSE = 64
const FIRST_PAUSE = 4 // where drafts do not pay
const MAX_TRIES = 2
const RATE = 0.06 // what one draft brings says little: 0 … 20 tokens
const USUAL_RATE = 0.02
const MARGIN = 1.05 // drafts must yield so much more than they cost

export interface DraftPace {
  /** A step begins. */
  turn(): void
  /** Whether to ask for the sequence in this step. */
  wants(sequence: Sequence): boolean
  /** Whether the next step will ask for it; asked once a step for a sequence that the step samples. */
  wantsNext(sequence: Sequence): boolean
  /** What a draft brought and cost, both in tokens. */
  learn(sequence: Sequence, gained: number, cost: number): void
}

interface Balance {
  gain: number
  cost: number
}

interface Record extends Balance {
  numDrafts: number
  pause: number // steps from one try to the next, a power of two; 1: drafts pay
}

export function createDraftPace(): DraftPace {
  const records = new WeakMap<Sequence, Record>()
  const usual: Balance = { gain: 2, cost: 1 } // of all sequences: what one that was never tried is expected to be like
  let step = 0
  let tries = new Set<Sequence>() // of this step
  let nextTries = new Set<Sequence>()

  const recordOf = (sequence: Sequence): Record => {
    const known = records.get(sequence)
    if (known !== undefined && known.numDrafts > 0) return known
    const record = { numDrafts: 0, ...usual, pause: pays(usual) ? 1 : FIRST_PAUSE }
    records.set(sequence, record)
    return record
  }

  return {
    turn: () => {
      step += 1
      tries = nextTries
      nextTries = new Set()
    },
    wants: (sequence) => takesDrafts(sequence) && (recordOf(sequence).pause === 1 || tries.has(sequence)),
    wantsNext: (sequence) => {
      if (!takesDrafts(sequence)) return false
      const { pause } = recordOf(sequence)
      if (pause === 1) return true
      if ((step + 1) % pause !== 0 || nextTries.size >= MAX_TRIES) return false
      nextTries.add(sequence)
      return true
    },
    learn: (sequence, gained, cost) => {
      const record = recordOf(sequence)
      record.numDrafts += 1
      addTo(record, { gain: gained, cost }, RATE)
      addTo(usual, { gain: gained, cost }, USUAL_RATE)
      if (pays(record)) record.pause = 1
      else record.pause = Math.min(MAX_PAUSE, Math.max(FIRST_PAUSE, 2 * record.pause))
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

const pays = ({ gain, cost }: Balance): boolean => gain > MARGIN * cost

function addTo(mean: Balance, { gain, cost }: Balance, rate: number): void {
  mean.gain += rate * (gain - mean.gain)
  mean.cost += rate * (cost - mean.cost)
}
