// The experts that are loaded here. Shards placed together are one unit: one graph per layer. Loading and dropping are
// idempotent; a unit serves until the one that replaces it is complete.

import { createExpertLayer, packExpert, type ExpertLayer } from '../../lib/compute/expert-layer.js'
import type { WeightSet, WeightStore } from '../../lib/compute/weight-store.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { shardPlan, type ShardPlan } from '../../lib/model/expert-shards.js'
import type { FfnSpec, WeightFormat } from '../../lib/model/spec.js'
import { linearOf } from '../../lib/model/weights.js'

/** The loaded experts of one layer in one unit; ids ascend within each shard. */
export interface LoadedLayer {
  readonly experts: readonly number[]
  readonly compute: ExpertLayer['compute']
}

export interface ExpertStore {
  readonly plan: ShardPlan
  readonly hidden: number
  readonly shards: readonly number[] // loaded, ascending
  /** Loads what is missing, then drops what is not wanted. */
  place(shards: readonly number[]): Promise<void>
  /** The unit that holds a shard, as it is in a layer; throws `failed_precondition` naming them otherwise. */
  layer(layer: number, shard: number): LoadedLayer
  dispose(): Promise<void>
}

export interface ExpertStoreOptions {
  readonly checkpoint: Checkpoint
  readonly format: WeightFormat
  readonly minRows: 1 | 2
  readonly threads: number
  readonly weights: WeightStore
}

interface Unit {
  readonly shards: readonly number[]
  readonly layers: ReadonlyMap<number, LoadedLayer & { dispose(): void }>
}

export function createExpertStore(options: ExpertStoreOptions): ExpertStore {
  const plan = shardPlan(options.checkpoint.spec)
  let units: Unit[] = []

  const unitOf = (shard: number): Unit | undefined => units.find(({ shards }) => shards.includes(shard))

  /** Loads the shards that no unit has, and those of units that hold too much. */
  const place = async (wanted: readonly number[]): Promise<void> => {
    const kept = units.filter(({ shards }) => shards.every((shard) => wanted.includes(shard)))
    const missing = wanted.filter((shard) => !kept.some(({ shards }) => shards.includes(shard)))
    const added = missing.length === 0 ? [] : [await loadUnit(options, plan, ascending(missing))]
    const dropped = units.filter((unit) => !kept.includes(unit))
    units = [...kept, ...added]
    dropped.forEach(disposeUnit)
  }

  let placing: Promise<void> = Promise.resolve() // one at a time: each starts from what the one before left
  return {
    plan,
    hidden: options.checkpoint.spec.hidden,
    get shards() {
      return ascending(units.flatMap(({ shards }) => shards))
    },
    place: (wanted) => {
      const next = placing.then(() => place([...new Set(wanted)]))
      placing = next.catch(() => undefined) // its caller hears of it
      return next
    },
    layer: (layer, shard) => {
      const loaded = unitOf(shard)?.layers.get(layer)
      if (loaded !== undefined) return loaded
      throw new ClusterError('failed_precondition', `layer ${layer}: shard ${shard} is not loaded here`)
    },
    dispose: async () => {
      await placing
      units.forEach(disposeUnit)
      units = []
    },
  }
}

const ascending = (shards: readonly number[]): number[] => [...shards].sort((a, b) => a - b)

function disposeUnit({ layers }: Unit): void {
  for (const layer of layers.values()) layer.dispose()
}

async function loadUnit(options: ExpertStoreOptions, plan: ShardPlan, shards: readonly number[]): Promise<Unit> {
  const { checkpoint, weights, minRows, threads } = options
  const layers = new Map<number, LoadedLayer & { dispose(): void }>()
  for (const layer of checkpoint.spec.layers.keys()) {
    const experts = shards.flatMap((shard) => plan.expertsOf(layer, shard))
    if (experts.length === 0) continue
    const sets = shards.map((shard) =>
      weights.open(`experts-${layer}-${shard}`, () => packShard(options, plan, layer, shard)),
    )
    const set = Object.assign({}, ...sets) as WeightSet // names of experts differ
    const names = experts.map(String)
    const loaded = createExpertLayer({ set, names, hidden: checkpoint.spec.hidden, minRows, threads })
    layers.set(layer, { experts, ...loaded })
    await turnOfTheLoop() // other layers' calls are answered meanwhile
  }
  weights.loaded()
  return { shards, layers }
}

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

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
