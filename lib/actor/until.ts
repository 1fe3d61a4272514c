// Waits for a condition, within a bound.

import type { Clock } from './actor.js'

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
    await new Promise<void>((resolve) => clock.after(everyMs, resolve))
  }
  return true
}
