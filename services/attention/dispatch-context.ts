// What a step knows about its experts: who holds them, who failed, what was asked.

import type { ActorSystem } from '../../lib/actor/actor.js'
import type { StopSignal } from '../../lib/actor/linked-signal.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import type { ShardPlan } from '../../lib/model/expert-shards.js'
import type { ExpertPeers } from './expert-peers.js'
import type { ExpertRows } from './expert-rows.js'
import type { LayerSpan, OpenLayerSpan } from './layer-spans.js'
import type { StepRoutes } from './step-routes.js'

export interface DispatchContext {
  readonly system: ActorSystem
  readonly neighbours: ExpertNeighbours // expert workers in this process
  readonly peers: ExpertPeers
  readonly step: string
  readonly replicas: readonly (readonly string[])[] // shard → expert workers, the first is this step's choice
  readonly plan: ShardPlan
  readonly timeoutMs: number
  readonly microBatches: number // parts of the step that take turns
  readonly signal: StopSignal
  readonly traceparent?: string | undefined
  readonly openLayer?: OpenLayerSpan | undefined
  readonly note?: LayerSpan['note'] | undefined // on the layer's span, where there is one
  readonly routes?: StepRoutes | undefined // where they were asked for
  readonly failed: Set<string> // workers that did not answer in this step: not asked again
  readonly slow: Set<string> // workers that others are asked before
  readonly used: Set<string> // workers that were asked in this step
  readonly counters: {
    distinctExperts: number // (layer, expert) pairs touched in this step
    readonly expertRows: ExpertRows // of all steps
  }
}

/** The worker of a shard to ask: one that has not failed in this step, rather one that is not slow. */
export function liveReplica({ replicas, failed, slow }: DispatchContext, shard: number): string | undefined {
  let isSlow: string | undefined
  for (const candidate of replicas[shard] ?? []) {
    if (failed.has(candidate)) continue
    if (!slow.has(candidate)) return candidate
    isSlow ??= candidate
  }
  return isSlow
}
