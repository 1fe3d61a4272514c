// A router's door opens before the cluster behind it can serve: asks the router over the bus until it can. The bus, as
// the door may want a certificate that only clients have.

import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { ActorSystem } from '../../lib/actor/actor.js'
import { ClusterError, isErrorCode } from '../../lib/errors.js'

const POLL_MS = 25
const ANSWER_TIMEOUT_MS = 2_000

const stateSchema = z.object({
  ready: z.boolean(),
  refusal: z.object({ code: z.string(), message: z.string() }).optional(), // the model is at fault: it will not be ready
  placement: z.object({ lack: z.string().optional() }).optional(), // of room: no worker that is there has any
})

/** Resolves when every router is ready. Throws `deadline_exceeded` naming the one that is not, why it cannot be, or `cancelled`. */
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
      if (found instanceof ClusterError) throw found
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

/** How the router stands; an error where it never will. */
async function askState(bus: ActorSystem, router: string): Promise<string | ClusterError> {
  try {
    const question = { kind: 'cluster.status', body: { asker: 'up' }, replyKind: 'cluster.state' } as const
    const { json } = await bus.ask(router, question, { timeoutMs: ANSWER_TIMEOUT_MS })
    const { ready, refusal, placement } = stateSchema.parse(JSON.parse(json))
    if (ready) return 'ready'
    if (refusal !== undefined)
      return new ClusterError(isErrorCode(refusal.code) ? refusal.code : 'internal', refusal.message)
    return placement?.lack === undefined ? 'not ready' : new ClusterError('resource_exhausted', placement.lack)
  } catch (error) {
    return ClusterError.from(error).message // not listening yet, or busy: asked again until the deadline
  }
}
