// The cluster as `GET /cluster`, `banyan status` and consoles show it.

import type { ActorSystem } from '../../lib/actor/actor.js'
import type { ClusterState } from './cluster-state.js'
import type { CostSummary } from './cost-model.js'
import { describeCost } from './cost-status.js'
import type { ClusterStatus, PlacementStatus, ProcessStatus } from './engine.js'
import { imbalanceOf } from './expert-load.js'
import type { AttentionWorkers } from './workers.js'

export interface StatusSources {
  readonly model: string
  readonly fingerprint: () => string
  readonly state: ClusterState
  readonly workers: Pick<AttentionWorkers, 'numRunning' | 'numWaiting' | 'kvUsage'>
  readonly versionsOf: ActorSystem['versionsOf']
  readonly stepCost: () => CostSummary | undefined
}

export function clusterStatus(sources: StatusSources): () => ClusterStatus {
  const { model, fingerprint, state, workers, versionsOf, stepCost } = sources
  const { membership, classes, placement } = state
  const processes = (): ProcessStatus[] => {
    const reserve = new Set(classes.reserve())
    return membership.processes().map((one) => ({
      ...one,
      ...(reserve.has(one.id) && { reserve: true }),
      protocol: versionsOf(one.id),
    }))
  }
  return () => ({
    model,
    fingerprint: fingerprint(),
    epoch: placement.epoch,
    deviceClasses: { attention: classes.current.attention ?? null, experts: classes.current.experts ?? null },
    processes: processes(),
    requests: { running: workers.numRunning, waiting: workers.numWaiting },
    placement: placementStatus(state),
    kvUsage: workers.kvUsage,
    stepCost: describeCost(stepCost()),
  })
}

export function placementStatus({ placement, load, rebalancer }: ClusterState): PlacementStatus {
  const loads = placement.workers.map(({ id }) => load.byWorker.get(id) ?? 0)
  return {
    shards: placement.table.length,
    replicas: placement.replicas,
    copies: placement.copies,
    imbalance: imbalanceOf(loads) ?? null,
    moves: rebalancer.figures.moves,
    ...(placement.lack !== undefined && { lack: placement.lack }),
  }
}
