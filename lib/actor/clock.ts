// The real clock and the real randomness, made in `main.ts` and tests only, and a clock that a test turns by hand.

import { randomBytes } from 'node:crypto'
import type { Clock, Random } from './actor.js'

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
}

/** 53 bits that nobody can guess. */
export const systemRandom: Random = () => Number(randomBytes(8).readBigUInt64LE() >> 11n) / 2 ** 53

export interface ManualClock extends Clock {
  /** Moves time on and runs what became due, in order of its time. */
  advance(ms: number): void
  /** Moves time on as for a process that stood still: what is due runs late, and what that sets waits for the next call. */
  wake(afterMs: number): void
  readonly numTimers: number
}

export function createManualClock(startMs = 0): ManualClock {
  let nowMs = startMs
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
    advance: (ms) => {
      const endMs = nowMs + ms
      for (;;) {
        const next = timers.filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0]
        if (next === undefined) break
        timers = timers.filter((other) => other !== next)
        nowMs = next.dueMs
        next.run()
      }
      nowMs = endMs
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
