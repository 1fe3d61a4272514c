// Asking a worker that may die while it works: its deadline is long, but nobody listening any more is known in a moment.

import { ClusterError } from '../errors.js'
import type { Body, MessageKind, MessageOf } from '../wire/messages.js'
import type { ActorSystem, AskOptions } from './actor.js'

const PROBE_MS = 200

/** The second mailbox of a worker: answered while the first one works. */
export const controlAddress = (worker: string): string => `${worker}.control`

/**
 * Asks a worker; while it works its control mailbox is probed. Throws `unavailable` as soon as nobody listens there; a
 * worker that is only slow, or frozen, has the whole deadline.
 */
export async function askWhileAlive<K extends MessageKind, R extends MessageKind>(
  system: ActorSystem,
  worker: string,
  message: { readonly kind: K; readonly body: Body<K>; readonly replyKind: R },
  options: AskOptions,
): Promise<MessageOf<R>> {
  const dead = new AbortController()
  let cancelProbe = (): void => undefined

  const probe = (): void => {
    const ping = { kind: 'worker.ping', body: { asker: worker }, replyKind: 'request.done' } as const
    system
      .ask(controlAddress(worker), ping, { timeoutMs: options.timeoutMs, signal: dead.signal })
      .then(watch)
      .catch((error: unknown) => {
        if (ClusterError.from(error).details.reason === 'NO_RESPONDERS') dead.abort()
      })
  }
  const watch = (): void => {
    if (!dead.signal.aborted) cancelProbe = system.clock.after(PROBE_MS, probe)
  }

  watch()
  const signal = options.signal === undefined ? dead.signal : AbortSignal.any([dead.signal, options.signal])
  try {
    return await system.ask(worker, message, { ...options, signal })
  } catch (error) {
    const isDead = dead.signal.aborted && options.signal?.aborted !== true
    throw isDead ? new ClusterError('unavailable', `${worker}: it died while it worked`, { cause: error }) : error
  } finally {
    cancelProbe()
    dead.abort()
  }
}
