// Waits for a condition, never for a time.

import { setTimeout as sleep } from 'node:timers/promises'

/** Polls until the condition holds; fails naming it when it has not within the bound. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 30_000,
): Promise<void> {
  const giveUp = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > giveUp) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(10)
  }
}
