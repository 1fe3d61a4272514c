// Asks an expert worker to hold shards. Loading may take minutes, so the deadline is long; a worker that meanwhile answers
// no ping is given up in seconds.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { placementAddress } from '../../lib/actor/ask-while-alive.js'
import { pingAddress, pingFrom } from '../../lib/actor/ping.js'
import { ClusterError } from '../../lib/errors.js'
import type { Body } from '../../lib/wire/messages.js'

const PLACE_TIMEOUT_MS = 120_000 // a shard of a large checkpoint takes a while to load
const PING_EVERY_MS = 500
export const PING_TIMEOUT_MS = 2_000

export interface PlaceRequest extends Omit<Body<'expert.place'>, 'shards'> {
  readonly shards: readonly number[]
}

/** Resolves with the shards once all are held. Throws `unavailable` for a worker that is gone or frozen. */
export async function askToPlace(
  system: ActorSystem,
  worker: string,
  { shards, ...request }: PlaceRequest,
): Promise<readonly number[]> {
  const given = new AbortController()
  let isDone = false
  let cancelPing = (): void => undefined
  const watch = (): void => {
    if (isDone) return
    cancelPing = system.clock.after(PING_EVERY_MS, () => {
      void ping(system, worker).then((isThere) => (isThere ? watch() : given.abort()))
    })
  }
  watch()
  const body = { ...request, shards: [...shards] }
  const message = { kind: 'expert.place', body, replyKind: 'expert.placed' } as const
  try {
    const options = { timeoutMs: PLACE_TIMEOUT_MS, signal: given.signal }
    const { shards: held } = await system.ask(placementAddress(worker), message, options)
    const missing = shards.find((shard) => !held.includes(shard))
    if (missing === undefined) return shards
    throw new ClusterError('internal', `${worker}: want shard ${missing} held, it holds ${held.join(' ')}`)
  } catch (error) {
    if (!given.signal.aborted) throw error
    throw new ClusterError('unavailable', `${worker}: no answer to a ping within ${PING_TIMEOUT_MS} ms`, {
      cause: error,
    })
  } finally {
    isDone = true
    cancelPing()
  }
}

/** Whether the worker's process answers, whatever it is doing; a ping that could not be sent says nothing against it. */
export async function ping(system: ActorSystem, worker: string): Promise<boolean> {
  try {
    await system.ask(pingAddress(worker), pingFrom('router'), { timeoutMs: PING_TIMEOUT_MS })
    return true
  } catch (error) {
    const { code, details } = ClusterError.from(error)
    return code !== 'deadline_exceeded' && details.reason !== 'NO_RESPONDERS'
  }
}
