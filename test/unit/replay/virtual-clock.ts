// A clock that a test turns: time moves to the next timer when everything that could happen now has happened.

import { createManualClock } from '../../../lib/actor/clock.js'
import type { ReplayClock } from '../../../replay/src/index.js'

export interface VirtualClock extends ReplayClock {
  /** Moves time on until the promise has settled, at most so far. */
  until<T>(promise: Promise<T>, mostMs?: number): Promise<T>
  /** The process stands still: what is due meanwhile runs late. */
  stall(ms: number): void
}

const TURNS = 4 // of the event loop: enough for a chain of promises

export function createVirtualClock(): VirtualClock {
  const clock = createManualClock()
  let ids = 0
  return {
    now: () => 1_700_000_000_000 + clock.now(),
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, run) => clock.after(delayMs, run),
    newId: () => `id-${(ids += 1)}`,
    stall: (ms) => clock.wake(ms),
    until: async (promise, mostMs = 10_000_000) => {
      let isSettled = false
      const settle = (): void => {
        isSettled = true
      }
      promise.then(settle, settle)
      for (let ms = 0; ; ms++) {
        for (let turn = 0; turn < TURNS; turn++) await clock.turn()
        if (isSettled) return promise
        if (ms >= mostMs) throw new Error(`not settled after ${mostMs} virtual milliseconds`)
        clock.advance(1)
      }
    },
  }
}
