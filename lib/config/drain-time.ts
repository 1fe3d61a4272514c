// How the time that a process has to leave is spent: first it waits for what it does for others to end, then it hands over
// the rest and closes.
//
// Invariants
//   DT1  Waiting and closing together fit into the time given: whoever kills the process after that kills nothing.

const MOST_CLOSING_MS = 5_000
const CLOSING_SHARE = 1 / 6

/** How long a drain may wait, of the seconds until the process is to be gone. */
export function drainWaitMs(drainSeconds: number): number {
  const allMs = drainSeconds * 1000
  return allMs - Math.min(MOST_CLOSING_MS, allMs * CLOSING_SHARE)
}

/** Where nobody says otherwise. */
export const DRAIN_WAIT_MS = drainWaitMs(30)
