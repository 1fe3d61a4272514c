// What each role's pods ask Kubernetes for, and how many there may be.

import type { Role } from '../wire/messages.js'
import { SIZE_BOUNDS } from '../wire/sizes.js'
import { MEMORY } from './constants.js'
import type { Seat } from './layouts.js'
import { servicePods, type Plan } from './plan.js'

export interface RolePods {
  readonly role: Role
  readonly pods: number
  readonly mostPods: number // for the autoscaler
  readonly cpus: number
  readonly memory: number
  readonly memoryLimit: number
  readonly device: 'cpu' | 'webgpu' | 'cuda'
  readonly nodes: number | undefined // undefined: wherever there is room
  readonly perNode: number
  readonly seat: Seat | undefined
  readonly cacheBytes: number // of packed weights
}

const GROWTH = 2 // an autoscaler may double what was planned, where nodes are added
const MEBI = 2 ** 20

export function rolePods(plan: Plan): readonly RolePods[] {
  const { layout, model, services, replicas } = plan
  const pods = servicePods(services)
  const mostWorkers = Math.min(SIZE_BOUNDS.experts.max, model.load.numShards * replicas)
  return [
    service('router', services.routers, Math.min(SIZE_BOUNDS.routers.max, GROWTH * services.routers), pods.routers),
    worker(plan, {
      role: 'attention',
      seat: layout.attention,
      memory: plan.attentionResident,
      mostPods: Math.min(SIZE_BOUNDS.attention.max, GROWTH * layout.attention.workers),
      cacheBytes: model.memory.attentionWeights,
    }),
    worker(plan, {
      role: 'expert-worker',
      seat: layout.experts,
      memory: plan.expertResident,
      mostPods: Math.max(layout.experts.workers, Math.min(mostWorkers, GROWTH * layout.experts.workers)),
      cacheBytes: (plan.shardsPerWorker + plan.spareShards) * model.memory.shardBytes,
    }),
    service('drafter', services.drafters, GROWTH * services.drafters, pods.drafters),
  ]
}

function worker(
  { request }: Plan,
  { seat, ...rest }: Pick<RolePods, 'role' | 'memory' | 'mostPods' | 'cacheBytes'> & { readonly seat: Seat },
): RolePods {
  return {
    ...rest,
    pods: seat.workers,
    cpus: seat.cpus,
    memoryLimit: Math.max(rest.memory * MEMORY.limitFactor, rest.memory + MEMORY.limitLeast),
    device: seat.isGpu ? request.device : 'cpu',
    nodes: seat.nodes,
    perNode: seat.perNode,
    seat,
  }
}

const service = (
  role: Role,
  pods: number,
  mostPods: number,
  { cpus, memory }: { readonly cpus: number; readonly memory: number },
): RolePods => ({
  role,
  pods,
  mostPods,
  cpus,
  memory,
  memoryLimit: 2 * memory,
  device: 'cpu',
  nodes: undefined,
  perNode: 1,
  seat: undefined,
  cacheBytes: 256 * MEBI,
})
