// Time and fresh names as the replayer sees them: the real ones, unless a test gives others. Schedules and latencies
// come from the monotonic clock; the wall clock only dates the report.

import { randomUUID } from 'node:crypto'

export interface ReplayClock {
  now(): number // unix milliseconds
  monotonicMs(): number
  /** Returns a function that cancels the timer. */
  after(delayMs: number, run: () => void): () => void
  newId(): string // that nobody else draws
}

const MAX_TIMER_MS = 2 ** 31 - 1 // a longer one would fire at once

export const systemClock: ReplayClock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, run) => {
    let timer: NodeJS.Timeout
    const arm = (leftMs: number): void => {
      const isLast = leftMs <= MAX_TIMER_MS
      timer = setTimeout(isLast ? run : () => arm(leftMs - MAX_TIMER_MS), isLast ? leftMs : MAX_TIMER_MS)
    }
    arm(delayMs)
    return () => clearTimeout(timer)
  },
  newId: () => randomUUID(),
}
