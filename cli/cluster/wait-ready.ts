// A router's door opens before the cluster behind it can serve: asks the router over the bus until it can. The bus, as
// the door may want a certificate that only clients have.

import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { ActorSystem } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'

const POLL_MS = 25
const ANSWER_TIMEOUT_MS = 2_000

const stateSchema = z.object({ ready: z.boolean() })

/** Resolves when every router is ready. Throws `deadline_exceeded` naming the one that is not, or `cancelled`. */
export async function waitReady(
  bus: ActorSystem,
  routers: readonly string[],
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  const giveUp = Date.now() + options.timeoutMs
  for (const router of routers) {
    for (;;) {
      if (options.signal.aborted) throw new ClusterError('cancelled', 'start: interrupted')
      const found = await askState(bus, router)
      if (found === 'ready') break
      if (Date.now() > giveUp) {
        throw new ClusterError(
          'deadline_exceeded',
          `${router}: want it ready within ${options.timeoutMs} ms, found ${found}`,
        )
      }
      await sleep(POLL_MS)
    }
  }
}

async function askState(bus: ActorSystem, router: string): Promise<string> {
  try {
    const question = { kind: 'cluster.status', body: { asker: 'up' }, replyKind: 'cluster.state' } as const
    const { json } = await bus.ask(router, question, { timeoutMs: ANSWER_TIMEOUT_MS })
    return stateSchema.parse(JSON.parse(json)).ready ? 'ready' : 'not ready'
  } catch (error) {
    return ClusterError.from(error).message // not listening yet, or busy: asked again until the deadline
  }
}
