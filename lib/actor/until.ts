// Waits: for a while, or for a condition within a bound.

import type { Clock } from './actor.js'

/** By a clock that is a parameter. */
export const pause = (clock: Pick<Clock, 'after'>, ms: number): Promise<void> =>
  new Promise((resolve) => clock.after(ms, resolve))

export interface UntilOptions {
  readonly timeoutMs: number
  readonly everyMs: number
}

/** Looks now and then again; true when the condition held, false when it did not in time. */
export async function until(
  clock: Clock,
  condition: () => boolean | Promise<boolean>,
  { timeoutMs, everyMs }: UntilOptions,
): Promise<boolean> {
  const giveUpMs = clock.monotonicMs() + timeoutMs
  while (!(await condition())) {
    if (clock.monotonicMs() >= giveUpMs) return false
    await pause(clock, everyMs)
  }
  return true
}

const LINGER_MS = 250
const LOOK_EVERY_MS = 50

/** The waiting of a process that leaves: what was sent before others heard of its draining still arrives. */
export async function untilDrained(clock: Clock, isIdle: () => boolean, timeoutMs: number): Promise<boolean> {
  const lingerUntilMs = clock.monotonicMs() + LINGER_MS
  const isFree = (): boolean => isIdle() && clock.monotonicMs() >= lingerUntilMs
  return until(clock, isFree, { timeoutMs, everyMs: LOOK_EVERY_MS })
}
