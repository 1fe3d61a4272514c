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

export const systemClock: ReplayClock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  newId: () => randomUUID(),
}
