// When a draining expert worker may leave: no router's table names it any more, and nobody waits for an answer. Routers
// say so by wanting no shard of it (`expert.place` with none); one that died says nothing, and is asked whether it lives.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { pingAddress, pingFrom } from '../../lib/actor/ping.js'
import { until } from '../../lib/actor/until.js'
import { ClusterError } from '../../lib/errors.js'
import type { WantedBy } from './wants.js'

const LOOK_EVERY_MS = 50
const ROUTER_TIMEOUT_MS = 2_000

export interface Draining {
  readonly system: ActorSystem
  readonly wantedBy: WantedBy
  readonly numQueued: () => number
  readonly timeoutMs: number // others load the last replica of a shard meanwhile
}

/** True when nobody needs the worker any more, false when somebody still did at the deadline. */
export async function untilUnneeded({ system, wantedBy, numQueued, timeoutMs }: Draining): Promise<boolean> {
  const asked = new Set<string>() // whose answer is awaited beside the looking
  const isFree = (): boolean => {
    const wanting = [...wantedBy].flatMap(([router, shards]) => (shards.length > 0 ? [router] : []))
    for (const router of wanting.filter((candidate) => !asked.has(candidate))) {
      asked.add(router)
      void forgetIfGone(system, router, wantedBy).finally(() => asked.delete(router))
    }
    return numQueued() === 0 && wanting.length === 0
  }
  return until(system.clock, isFree, { timeoutMs, everyMs: LOOK_EVERY_MS })
}

async function forgetIfGone(system: ActorSystem, router: string, wantedBy: WantedBy): Promise<void> {
  try {
    await system.ask(pingAddress(router), pingFrom('expert-worker'), { timeoutMs: ROUTER_TIMEOUT_MS })
  } catch (error) {
    if (ClusterError.from(error).details.reason === 'NO_RESPONDERS') wantedBy.delete(router)
  }
}
