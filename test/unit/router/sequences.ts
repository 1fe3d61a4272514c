// Sequences for tests of the router: real ones, with an emitter that keeps what it is given.

import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import { noStats, type Ending, type Sequence } from '../../../services/router/sequence.js'

export interface TestSequence extends Sequence {
  readonly emitted: number[]
  readonly failures: unknown[]
  readonly ending: () => Ending | undefined
  isPaused: boolean // its reader is slow
}

/** A sequence that ends after `maxTokens` tokens. */
export function createTestSequence(id: string, prompt: readonly number[], maxTokens = 1000): TestSequence {
  const emitted: number[] = []
  const failures: unknown[] = []
  let ending: Ending | undefined
  const sequence: TestSequence = {
    id,
    emitted,
    failures,
    isPaused: false,
    ending: () => ending,
    choice: 0,
    promptLength: prompt.length,
    sampling: NEUTRAL_SAMPLING,
    limits: { maxTokens, endTokenIds: new Set() },
    drafts: true,
    tenant: '',
    priority: 'normal',
    returnsTrees: false,
    traceparent: undefined,
    startedMs: 0,
    emitter: {
      push: (tokens) => {
        emitted.push(...tokens)
        return emitted.length >= maxTokens ? { reason: 'length' } : undefined
      },
      replay: () => undefined,
      detach: () => undefined,
      finish: (how) => (ending = how),
      fail: (error) => void failures.push(error),
      get isClosed() {
        return ending !== undefined || failures.length > 0
      },
      get isPaused() {
        return sequence.isPaused
      },
    },
    tokens: [...prompt],
    base: 0,
    epoch: 0,
    accepted: [],
    prefix: undefined,
    cachedTokens: 0,
    restarts: 0,
    draftedUpTo: 0,
    hidden: undefined,
    stats: noStats(),
  }
  return sequence
}

export const promptOf = (length: number, seed = 0): number[] =>
  Array.from({ length }, (_, i) => (7 * i + 3 * seed) % 23)
