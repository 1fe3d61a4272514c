// Periodic heartbeats: at once, then at a steady interval, and whenever something changed.

import type { Body } from '../wire/messages.js'
import type { ActorSystem } from './actor.js'

export const HEARTBEAT_MS = 250

export interface HeartbeatTimer {
  /** Sends one now, beside the rhythm. */
  beat(this: void): void
  stop(): void
}

export function startHeartbeat(
  system: ActorSystem,
  subject: string,
  describe: () => Body<'worker.heartbeat'>,
): HeartbeatTimer {
  let cancel = (): void => undefined
  const beat = (): void => system.broadcast(subject, 'worker.heartbeat', describe())
  const tick = (): void => {
    beat()
    cancel = system.clock.after(HEARTBEAT_MS, tick)
  }
  tick()
  return { beat, stop: () => cancel() }
}
