// Changes the size of the running cluster. Processes are started and stopped by whoever keeps them (`banyan up`, else an
// orchestrator); how many workers hold each shard is the routers' own, and all take the latest wish that they heard of.
//
// Invariants
//   K1  Every router comes to the same number of replicas, also one that starts later: a wish travels in heartbeats with
//       the time of its making, the later one wins, and of two of one moment the larger.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import { PROCESS_SIZES, type WantedSizes } from '../../lib/wire/sizes.js'
import { UP_ADDRESS } from '../../lib/wire/subjects.js'

const UP_TIMEOUT_MS = 5_000

export interface Scaling {
  readonly replicas: NonNullable<Heartbeat['replicas']>
  observe(heartbeat: Heartbeat): void
  /**
   * What is asked for from then on; it comes about meanwhile. Throws `failed_precondition` where nobody here starts
   * processes.
   */
  scale(this: void, wanted: WantedSizes): Promise<WantedSizes>
}

export interface ScalingOptions {
  readonly system: ActorSystem
  readonly replicas: number
  readonly onReplicas: (count: number) => void
}

export function createScaling({ system, replicas, onReplicas }: ScalingOptions): Scaling {
  let wish = { count: replicas, version: 0 }

  const take = (next: typeof wish): void => {
    const hasChanged = next.count !== wish.count
    wish = next
    if (hasChanged) onReplicas(next.count)
  }

  const scale = async (wanted: WantedSizes): Promise<WantedSizes> => {
    const asked = await askUp(system, wanted)
    if (wanted.replicas === undefined) return { ...asked, replicas: wish.count }
    take({ count: wanted.replicas, version: Math.max(wish.version + 1, system.clock.now()) })
    return { ...asked, replicas: wanted.replicas }
  }

  return {
    get replicas() {
      return wish
    },
    observe: ({ replicas: heard }) => {
      if (heard === undefined) return
      const isLater = heard.version > wish.version || (heard.version === wish.version && heard.count > wish.count)
      if (heard.version > 0 && isLater) take(heard)
    },
    scale,
  }
}

/** The sizes that `up` keeps from now on; none where there is no `up` and nothing of its own was asked of it. */
async function askUp(system: ActorSystem, wanted: WantedSizes): Promise<WantedSizes> {
  try {
    const message = { kind: 'cluster.scale', body: wanted, replyKind: 'cluster.scaled' } as const
    const { routers, attention, experts, drafters, replicas } = await system.ask(UP_ADDRESS, message, {
      timeoutMs: UP_TIMEOUT_MS,
    })
    return { routers, attention, experts, drafters, replicas }
  } catch (error) {
    if (ClusterError.from(error).details.reason !== 'NO_RESPONDERS') throw error
    const processes = PROCESS_SIZES.filter((name) => wanted[name] !== undefined)
    if (processes.length === 0) return {}
    throw new ClusterError(
      'failed_precondition',
      `${processes.join(', ')}: no banyan up runs this cluster; scale its processes where they are started (kubectl scale)`,
      { details: { reason: 'NOT_SUPERVISED' }, cause: error },
    )
  }
}
