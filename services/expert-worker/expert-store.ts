// The experts that are loaded here, by shard. Loading and dropping are idempotent; compute never waits for a load.

import { createExpertFfn } from '../../lib/compute/expert-ffn.js'
import type { Session } from '../../lib/compute/session.js'
import { withMinRows } from '../../lib/compute/two-rows.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { shardPlan, type ShardPlan } from '../../lib/model/expert-shards.js'
import type { FfnSpec, WeightFormat } from '../../lib/model/spec.js'
import { linearOf } from '../../lib/model/weights.js'

export interface ExpertStore {
  readonly plan: ShardPlan
  readonly hidden: number
  readonly shards: readonly number[] // loaded, ascending
  /** Loads what is missing, then drops what is not wanted. */
  place(shards: readonly number[]): Promise<void>
  /** The session of a loaded expert; throws `failed_precondition` naming layer, expert and shard otherwise. */
  session(layer: number, expert: number): Session
  dispose(): Promise<void>
}

export interface ExpertStoreOptions {
  readonly checkpoint: Checkpoint
  readonly format: WeightFormat
  readonly minRows: 1 | 2
}

export function createExpertStore({ checkpoint, format, minRows }: ExpertStoreOptions): ExpertStore {
  const { spec } = checkpoint
  const plan = shardPlan(spec)
  const loaded = new Map<number, Map<string, Session>>() // shard → 'layer/expert' → session

  const ffnOf = (layer: number, expert: number): FfnSpec | undefined => {
    const ffn = spec.layers[layer]?.ffn
    return ffn?.experts[expert] ?? (expert === ffn?.experts.length ? ffn.always?.ffn : undefined)
  }

  const loadExpert = async (ffn: FfnSpec): Promise<Session> => {
    const weights = {
      gate: linearOf(checkpoint, ffn.gate),
      up: linearOf(checkpoint, ffn.up),
      down: linearOf(checkpoint, ffn.down),
    }
    return withMinRows(await createExpertFfn(weights, format), minRows)
  }

  const loadShard = async (shard: number): Promise<void> => {
    const sessions = new Map<string, Session>()
    for (const layer of spec.layers.keys()) {
      for (const expert of plan.expertsOf(layer, shard)) {
        const ffn = ffnOf(layer, expert)
        if (ffn !== undefined) sessions.set(`${layer}/${expert}`, await loadExpert(ffn))
      }
    }
    loaded.set(shard, sessions)
  }

  const dropShard = async (shard: number): Promise<void> => {
    const sessions = loaded.get(shard)
    loaded.delete(shard)
    for (const session of sessions?.values() ?? []) await session.dispose()
  }

  return {
    plan,
    hidden: spec.hidden,
    get shards() {
      return [...loaded.keys()].sort((a, b) => a - b)
    },
    place: async (shards) => {
      for (const shard of shards) if (!loaded.has(shard)) await loadShard(shard)
      for (const shard of [...loaded.keys()]) if (!shards.includes(shard)) await dropShard(shard)
    },
    session: (layer, expert) => {
      const shard = plan.shardOf(layer, expert)
      const session = loaded.get(shard)?.get(`${layer}/${expert}`)
      if (session !== undefined) return session
      throw new ClusterError(
        'failed_precondition',
        `layer ${layer}, expert ${expert}: shard ${shard} is not loaded here`,
      )
    },
    dispose: async () => {
      for (const shard of [...loaded.keys()]) await dropShard(shard)
    },
  }
}
