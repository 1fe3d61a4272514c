// A clock whose timers fire when the test says so, however late: a process that stood still.

import type { Clock } from '../../../lib/actor/actor.js'
import { systemClock } from '../../../lib/actor/clock.js'

export interface LateClock extends Clock {
  /** Moves time on, then runs what is due, once: what that sets waits for the next call. */
  wake(afterMs: number): void
  readonly numTimers: number
}

export function createLateClock(): LateClock {
  let nowMs = 0
  let timers: { dueMs: number; run: () => void }[] = []
  return {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    turn: systemClock.turn,
    after: (delayMs, run) => {
      const timer = { dueMs: nowMs + delayMs, run }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
    wake: (afterMs) => {
      nowMs += afterMs
      const due = timers.filter(({ dueMs }) => dueMs <= nowMs)
      timers = timers.filter(({ dueMs }) => dueMs > nowMs)
      for (const { run } of due) run()
    },
    get numTimers() {
      return timers.length
    },
  }
}
