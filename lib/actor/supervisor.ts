// Decides what happens after an actor crashed. Pure.

const FIRST_DELAY_MS = 50
const MAX_DELAY_MS = 5_000
const WINDOW_MS = 60_000
const MAX_RESTARTS = 10 // in a window

export type Decision = { readonly action: 'restart'; readonly delayMs: number } | { readonly action: 'stop' }

/** Exponential back-off over the crashes of the last minute; too many of them stop the actor. */
export function afterCrash(crashTimesMs: readonly number[], nowMs: number): Decision {
  const recent = crashTimesMs.filter((time) => nowMs - time < WINDOW_MS).length
  if (recent > MAX_RESTARTS) return { action: 'stop' }
  return { action: 'restart', delayMs: Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, recent - 1)) }
}
