// For which sequences a drafter is asked in a step: those whose drafts have lately yielded more tokens than they cost. The
// others are asked less and less often, and again often once a draft pays.
//
// Invariants
//   P1  A sequence that drafts never help pays for ever fewer of them: its pauses double, up to MAX_PAUSE steps.
//   P2  Sequences with the same pause are asked for in the same steps: a question costs a step more than a sequence does.
//   P3  Speed only: nothing here changes a token.

import { numOutput, type Sequence } from './sequence.js'

const MAX_PAUSE = 64
const FIRST_PAUSE = 16 // of a new sequence, where drafts have not paid lately
const LEARNED_AFTER = 3 // drafts of a sequence before it is judged by its own
const RATE = 0.2
const USUAL_RATE = 0.05
const MARGIN = 1.05 // a draft must yield so much more than it costs

export interface DraftPace {
  /** A step begins. */
  turn(): void
  /** Whether to ask for the sequence in this step. */
  wants(sequence: Sequence): boolean
  /** Whether the next step will ask for it. */
  wantsNext(sequence: Sequence): boolean
  /** What a draft brought and cost, both in tokens. */
  learn(sequence: Sequence, gained: number, cost: number): void
}

interface Record {
  numDrafts: number
  gain: number
  cost: number
  pause: number // steps from one draft to the next, a power of two
}

export function createDraftPace(): DraftPace {
  const records = new WeakMap<Sequence, Record>()
  const usual = { gain: 1, cost: 0 } // of all sequences: what a new one is expected to be like
  let step = 0

  const recordOf = (sequence: Sequence): Record => {
    const known = records.get(sequence)
    if (known !== undefined) return known
    const record = { numDrafts: 0, ...usual, pause: pays(usual) ? 1 : FIRST_PAUSE }
    records.set(sequence, record)
    return record
  }
  const isDue = (sequence: Sequence, at: number): boolean =>
    takesDrafts(sequence) && at % recordOf(sequence).pause === 0

  return {
    turn: () => {
      step += 1
    },
    wants: (sequence) => isDue(sequence, step),
    wantsNext: (sequence) => isDue(sequence, step + 1),
    learn: (sequence, gained, cost) => {
      const record = recordOf(sequence)
      record.numDrafts += 1
      addTo(record, { gained, cost }, RATE)
      addTo(usual, { gained, cost }, USUAL_RATE)
      if (pays(record)) record.pause = 1
      else if (record.numDrafts >= LEARNED_AFTER || !pays(usual)) record.pause = Math.min(MAX_PAUSE, 2 * record.pause)
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

const pays = ({ gain, cost }: { readonly gain: number; readonly cost: number }): boolean => gain > MARGIN * cost

function addTo(
  mean: { gain: number; cost: number },
  { gained, cost }: { readonly gained: number; readonly cost: number },
  rate: number,
): void {
  mean.gain += rate * (gained - mean.gain)
  mean.cost += rate * (cost - mean.cost)
}
