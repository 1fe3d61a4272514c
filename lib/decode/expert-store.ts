// The experts that are loaded here, shard by shard. Loading and dropping are idempotent; what is kept serves meanwhile.

import { packExpert, placeExpert, type PlacedExpert } from '../compute/expert-layer.js'
import type { Kernels } from '../compute/kernels.js'
import { roundedBlocks } from '../compute/tiles.js'
import type { WeightSet, WeightStore } from '../compute/weight-store.js'
import type { Checkpoint } from '../model/checkpoint.js'
import { shardPlan, type ShardPlan } from '../model/expert-shards.js'
import type { FfnSpec, WeightFormat } from '../model/spec.js'
import { linearOf } from '../model/weights.js'

export interface ExpertStore {
  readonly plan: ShardPlan
  readonly kernels: Kernels
  readonly hidden: number
  readonly readsRounded: boolean // rows as products read them, not float32
  readonly shards: readonly number[] // loaded, ascending
  /** Loads what is missing, then drops what is not wanted. */
  place(shards: readonly number[]): Promise<void>
  /** An expert, where its shard is loaded. */
  readonly expert: (layer: number, shard: number, expert: number) => PlacedExpert | undefined
  dispose(): Promise<void>
}

export interface ExpertStoreOptions {
  readonly checkpoint: Checkpoint
  readonly format: WeightFormat
  readonly kernels: Kernels
  readonly weights: WeightStore
  readonly turn: () => Promise<void> // of the event loop
}

/** Experts of a shard by layer, then id. */
type Shard = ReadonlyMap<number, ReadonlyMap<number, PlacedExpert>>

export function createExpertStore(options: ExpertStoreOptions): ExpertStore {
  const plan = shardPlan(options.checkpoint.spec)
  const loaded = new Map<number, Shard>()

  const drop = (shard: number): void => {
    for (const experts of loaded.get(shard)?.values() ?? []) for (const expert of experts.values()) expert.dispose()
    loaded.delete(shard)
  }

  const place = async (wanted: ReadonlySet<number>): Promise<void> => {
    for (const shard of wanted) if (!loaded.has(shard)) loaded.set(shard, await loadShard(options, plan, shard))
    options.weights.loaded()
    for (const shard of [...loaded.keys()]) if (!wanted.has(shard)) drop(shard)
  }

  let placing: Promise<void> = Promise.resolve() // one at a time: each starts from what the one before left
  return {
    plan,
    kernels: options.kernels,
    hidden: options.checkpoint.spec.hidden,
    readsRounded: roundedBlocks(options.checkpoint.spec.hidden, options.format) > 0,
    get shards() {
      return [...loaded.keys()].sort((a, b) => a - b)
    },
    place: (wanted) => {
      const next = placing.then(() => place(new Set(wanted)))
      placing = next.catch(() => undefined) // its caller hears of it
      return next
    },
    expert: (layer, shard, expert) => loaded.get(shard)?.get(layer)?.get(expert),
    dispose: async () => {
      await placing
      for (const shard of [...loaded.keys()]) drop(shard)
    },
  }
}

/** Loads a shard whole or not at all. */
async function loadShard(options: ExpertStoreOptions, plan: ShardPlan, shard: number): Promise<Shard> {
  const { checkpoint, kernels, weights } = options
  const layers = new Map<number, Map<number, PlacedExpert>>()
  try {
    for (const layer of checkpoint.spec.layers.keys()) {
      const ids = plan.expertsOf(layer, shard)
      if (ids.length === 0) continue
      const set = weights.open(`experts-${layer}-${shard}`, () => packShard(options, plan, layer, shard))
      const experts = new Map<number, PlacedExpert>()
      layers.set(layer, experts)
      for (const id of ids) experts.set(id, placeExpert(kernels, set, String(id)))
      await options.turn() // calls are answered meanwhile
    }
  } catch (error) {
    for (const experts of layers.values()) for (const expert of experts.values()) expert.dispose()
    throw error
  }
  return layers
}

function packShard(
  { checkpoint, format }: ExpertStoreOptions,
  plan: ShardPlan,
  layer: number,
  shard: number,
): WeightSet {
  const ffn = checkpoint.spec.layers[layer]?.ffn
  const sets = plan.expertsOf(layer, shard).map((expert) => {
    const spec = ffn?.experts[expert] ?? ffn?.always?.ffn
    return spec === undefined ? {} : packExpert(String(expert), readExpert(checkpoint, spec), format)
  })
  return Object.assign({}, ...sets) as WeightSet // names of experts differ
}

function readExpert(checkpoint: Checkpoint, { gate, up, down }: FfnSpec) {
  return { gate: linearOf(checkpoint, gate), up: linearOf(checkpoint, up), down: linearOf(checkpoint, down) }
}
