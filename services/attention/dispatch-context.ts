// What a step knows about its experts: who holds them, who failed, what was asked.

import type { ActorSystem } from '../../lib/actor/actor.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import type { ShardPlan } from '../../lib/model/expert-shards.js'

export interface DispatchContext {
  readonly system: ActorSystem
  readonly neighbours: ExpertNeighbours // expert workers in this process
  readonly step: string
  readonly replicas: readonly (readonly string[])[] // shard → expert workers, the first is this step's choice
  readonly plan: ShardPlan
  readonly timeoutMs: number
  readonly microBatches: number // parts of the step that take turns
  readonly signal: AbortSignal
  readonly traceparent?: string | undefined
  readonly failed: Set<string> // workers that did not answer in this step
  readonly used: Set<string> // workers that were asked in this step
  readonly counters: { distinctExperts: number } // (layer, expert) pairs touched in this step
}

/** The first worker of a shard that has not failed in this step. */
export const liveReplica = ({ replicas, failed }: DispatchContext, shard: number): string | undefined =>
  replicas[shard]?.find((candidate) => !failed.has(candidate))
