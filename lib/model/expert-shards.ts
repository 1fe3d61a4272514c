// The cut into expert shards, the unit of placement, replication and failover.
//
// Invariants
//   H1  A function of the checkpoint alone, never of workers or replicas: the sums' shape follows it (I1).
//   H2  Every expert of every layer is in exactly one shard.

import type { ModelSpec } from './spec.js'

const MAX_SHARDS = 8

export interface ShardPlan {
  readonly numShards: number
  shardOf(layer: number, expert: number): number
  /** Ascending ids, the always-active expert (id = number of routed ones) included. */
  expertsOf(layer: number, shard: number): readonly number[]
}

/** At most eight contiguous ranges of routed experts; the always-active expert of layer l is in shard l mod shards. */
export function shardPlan(spec: ModelSpec): ShardPlan {
  const most = Math.max(...spec.layers.map(({ ffn }) => ffn.experts.length))
  const numShards = Math.min(MAX_SHARDS, most > 0 ? most : spec.layers.length)
  const shardOf = (layer: number, expert: number): number => {
    const numRouted = spec.layers[layer]?.ffn.experts.length ?? 0
    return expert < numRouted ? Math.floor((expert * numShards) / numRouted) : layer % numShards
  }
  const table = spec.layers.map(({ ffn }, layer) => {
    const byShard = Array.from({ length: numShards }, (): number[] => [])
    const numExperts = ffn.experts.length + (ffn.always === undefined ? 0 : 1)
    for (let expert = 0; expert < numExperts; expert++) byShard[shardOf(layer, expert)]?.push(expert)
    return byShard
  })
  return { numShards, shardOf, expertsOf: (layer, shard) => table[layer]?.[shard] ?? [] }
}
