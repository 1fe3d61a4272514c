// How the sides of a comparison take turns.

import { setTimeout as sleep } from 'node:timers/promises'

export const QUIET_MS = 50 // a side's threads may still spin when its answer is there

/**
 * Another side begins in every round, so that each is first, second, … and last equally often: neither a machine that
 * slows down within a round nor what the first one leaves behind favours a side. Rounds of a warm-up may be below 0.
 */
export const inTurn = <T>(round: number, sides: readonly T[]): readonly T[] =>
  sides.map((_, i) => sides.at((i + round) % sides.length)!)

/** Measures every side, one after the other, with a pause before each. */
export async function takeTurns<T>(
  round: number,
  sides: readonly T[],
  measure: (side: T) => Promise<void>,
): Promise<void> {
  for (const side of inTurn(round, sides)) {
    await sleep(QUIET_MS)
    await measure(side)
  }
}
