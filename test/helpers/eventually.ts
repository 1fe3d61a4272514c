// Waits for a condition, never for a time.

import { setTimeout as sleep } from 'node:timers/promises'

const SHORTEST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 50
const SHARE = 0.05 // of the time waited: asking a cluster takes the time that it needs for what is waited for

/** Polls until the condition holds; fails naming it when it has not within the bound. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 30_000,
): Promise<void> {
  const beganMs = Date.now()
  while (!(await condition())) {
    const waitedMs = Date.now() - beganMs
    if (waitedMs > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, SHARE * waitedMs)))
  }
}
