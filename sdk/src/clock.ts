// Time and chance as the client sees them: the real ones, unless a test gives others.

import { randomUUID } from 'node:crypto'

export interface ClientClock {
  now(): number // unix milliseconds
  /** Returns a function that cancels the timer. */
  after(delayMs: number, run: () => void): () => void
  random(): number // 0 ≤ value < 1
  newId(): string // that nobody else draws
}

export const systemClock: ClientClock = {
  now: () => Date.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
  newId: () => randomUUID(),
}
