// Keeps the view of the cluster fresh: ages it, and pings whoever has been silent, one ping under way each.

import { pingAddress, pingFrom } from '../../lib/actor/ping.js'
import type { ActorSystem } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import type { Membership } from './membership.js'

const TICK_MS = 100
const PING_TIMEOUT_MS = 500

/** Returns what ends it. */
export function startProbes(system: ActorSystem, membership: Membership, router: string): () => void {
  const { clock } = system
  const pinged = new Set<string>() // incarnations
  let cancel = (): void => undefined

  const ping = async (process: Heartbeat): Promise<void> => {
    pinged.add(process.incarnation)
    try {
      await system.ask(pingAddress(process.id), pingFrom(router), { timeoutMs: PING_TIMEOUT_MS })
      membership.pinged(process, 'answered', clock.monotonicMs())
    } catch (error) {
      const { code, details } = ClusterError.from(error)
      if (details.reason === 'NO_RESPONDERS') membership.pinged(process, 'gone', clock.monotonicMs())
      else if (code === 'deadline_exceeded') membership.pinged(process, 'unanswered', clock.monotonicMs())
      // What could not be sent says nothing about the process.
    } finally {
      pinged.delete(process.incarnation)
    }
  }

  const tick = (): void => {
    cancel = clock.after(TICK_MS, tick)
    const nowMs = clock.monotonicMs()
    membership.tick(nowMs)
    for (const process of membership.silent(nowMs)) if (!pinged.has(process.incarnation)) void ping(process)
  }
  tick()
  return () => cancel()
}
