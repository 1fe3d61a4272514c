// Asking a worker that may die while it works: its deadline is long, but nobody listening any more is known in a moment.

import { ClusterError } from '../errors.js'
import type { MessageKind, MessageOf } from '../wire/messages.js'
import type { ActorSystem, AskOptions, Question } from './actor.js'
import { linkedSignal } from './linked-signal.js'

const PROBE_MS = 200

/** The second mailbox of a worker: answered while the first one works. */
export const controlAddress = (worker: string): string => `${worker}.control`

/** An expert worker's third mailbox: shards are loaded there, which takes long. */
export const placementAddress = (worker: string): string => `${worker}.placement`

/**
 * Asks a worker; while it works its control mailbox is probed. Throws `unavailable` as soon as nobody listens there; a
 * worker that is only slow, or frozen, has the whole deadline.
 */
export async function askWhileAlive<K extends MessageKind, R extends MessageKind>(
  system: ActorSystem,
  worker: string,
  message: Question<K, R>,
  options: AskOptions,
): Promise<MessageOf<R>> {
  const linked = linkedSignal([options.signal])
  let isDead = false
  let isDone = false
  let isProbing = false
  let cancelProbe = (): void => undefined

  const probe = (): void => {
    isProbing = true
    const ping = { kind: 'worker.ping', body: { asker: worker }, replyKind: 'request.done' } as const
    system
      .ask(controlAddress(worker), ping, { timeoutMs: options.timeoutMs, signal: linked.signal })
      .then(() => {
        isProbing = false
        watch()
      })
      .catch((error: unknown) => {
        isDead = ClusterError.from(error).details.reason === 'NO_RESPONDERS'
        if (isDead) linked.abort()
      })
  }
  const watch = (): void => {
    if (!isDone) cancelProbe = system.clock.after(PROBE_MS, probe)
  }

  watch()
  try {
    return await system.ask(worker, message, { ...options, signal: linked.signal })
  } catch (error) {
    throw isDead ? new ClusterError('unavailable', `${worker}: it died while it worked`, { cause: error }) : error
  } finally {
    isDone = true
    cancelProbe()
    linked.release()
    if (isProbing) linked.abort() // costs 50 µs, so only where somebody still waits
  }
}
