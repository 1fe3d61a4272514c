// A router's door opens before the cluster behind it can serve: asks GET /ready until it can.

import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError } from '../../lib/errors.js'

const POLL_MS = 25
const ANSWER_TIMEOUT_MS = 2_000

/** Resolves when every router answers 200. Throws `deadline_exceeded` naming the one that does not, or `cancelled`. */
export async function waitReady(
  urls: readonly string[],
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const giveUp = Date.now() + options.timeoutMs
  for (const url of urls) {
    for (;;) {
      if (options.signal.aborted) throw new ClusterError('cancelled', 'start: interrupted')
      const status = await readyStatus(url)
      if (status === 200) break
      if (Date.now() > giveUp) {
        const found = status === undefined ? 'no answer' : `status ${status}`
        throw new ClusterError(
          'deadline_exceeded',
          `${url}/ready: want 200 within ${options.timeoutMs} ms, found ${found}`,
        )
      }
      await sleep(POLL_MS)
    }
  }
}

async function readyStatus(url: string): Promise<number | undefined> {
  try {
    const response = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })
    await response.body?.cancel()
    return response.status
  } catch {
    return undefined // not listening yet, or busy: asked again until the deadline
  }
}
