// The experts that are loaded here, shard by shard. Loading and dropping are idempotent; what is kept serves meanwhile.

import { cpuExperts } from '../compute/cpu-experts.js'
import type { LayerCall } from '../compute/expert-call.js'
import type { ExpertEngine } from '../compute/expert-engine.js'
import type { PlacedExpert } from '../compute/expert-layer.js'
import type { Kernels } from '../compute/kernels.js'
import { leastRoom, requireRoom, type MemoryRoom } from '../compute/memory-room.js'
import { forgetKept } from '../compute/recycled.js'
import { inTurns, type Steps } from '../compute/steps.js'
import type { WeightSet, WeightStore } from '../compute/weight-store.js'
import { ClusterError, type ErrorDetails } from '../errors.js'
import type { Checkpoint } from '../model/checkpoint.js'
import { shardPlan, type ShardPlan } from '../model/expert-shards.js'
import type { FfnSpec, ModelSpec, WeightFormat } from '../model/spec.js'
import { ffnLinears, linearBytes, modelSizes } from '../model/sizes.js'
import { linearOf } from '../model/weights.js'
import { countLoad, type LoadCount, type OnProgress } from './load-progress.js'

/** A store, whatever computes. */
export interface ExpertStore {
  readonly plan: ShardPlan
  readonly hidden: number
  readonly readsRounded: boolean // rows may come as products read them, not float32
  readonly shards: readonly number[] // loaded, ascending
  /**
   * Loads what is missing, then drops what is not wanted; the other way round where there is no room for both. Throws
   * `resource_exhausted` (`NO_ROOM`) before anything is read, `cancelled` once `close` was called.
   */
  place(shards: readonly number[]): Promise<void>
  /** Ends the load under way and lets nothing more be loaded; what is held stays. */
  close(): void
  /**
   * Computes experts of a layer: sums [sums.length, hidden] over entries, counted through all calls, to be read before the
   * engine's next run. Throws `failed_precondition` where a shard is not loaded.
   */
  compute(call: LayerCall, sums: readonly (readonly number[])[]): Float32Array
  dispose(): Promise<void>
}

/** A store of the CPU engine's experts, which attention in the same process runs in place. */
export interface CpuExpertStore extends ExpertStore {
  readonly kernels: Kernels
  /** An expert, where its shard is loaded. */
  readonly expert: (layer: number, shard: number, expert: number) => PlacedExpert | undefined
}

export interface ExpertStoreOptions {
  readonly checkpoint: Checkpoint
  readonly format: WeightFormat
  readonly weights: WeightStore
  /** Of the event loop; the load ends where it rejects. */
  readonly turn: () => Promise<void>
  readonly onProgress?: OnProgress | undefined
  /** What more weights must fit into; any number of them does, unless given. */
  readonly rooms?: (() => readonly MemoryRoom[]) | undefined
}

/** Experts of a shard by layer, then id. */
type Shard<E> = ReadonlyMap<number, ReadonlyMap<number, E>>

/** A store of experts that the CPU computes. */
export function createExpertStore(options: ExpertStoreOptions & { readonly kernels: Kernels }): CpuExpertStore {
  const { checkpoint, format, kernels } = options
  const { store, expert } = createStoreOn(cpuExperts(kernels, checkpoint.spec.hidden, format), options)
  return Object.assign(store, { kernels, expert })
}

/** A store of experts that a device computes. */
export function createDeviceExpertStore<E extends Disposable>(
  engine: ExpertEngine<E>,
  options: ExpertStoreOptions,
): ExpertStore {
  return createStoreOn(engine, options).store
}

interface Disposable {
  dispose(): void
}

function createStoreOn<E extends Disposable>(engine: ExpertEngine<E>, given: ExpertStoreOptions) {
  let isClosed = false
  const options: ExpertStoreOptions = {
    ...given,
    turn: async () => {
      await given.turn() // calls are answered meanwhile
      if (isClosed) throw new ClusterError('cancelled', `${given.checkpoint.path}: loading was cancelled`)
    },
  }
  const plan = shardPlan(options.checkpoint.spec)
  const { hidden } = options.checkpoint.spec
  const { shards: shardBytes } = modelSizes(options.checkpoint.spec, options.format)
  const loaded = new Map<number, Shard<E>>()
  const expert = (layer: number, shard: number, id: number): E | undefined => loaded.get(shard)?.get(layer)?.get(id)

  const bytesOf = (missing: readonly number[]): number =>
    missing.reduce((sum, shard) => sum + (shardBytes[shard] ?? 0), 0)
  const hasRoom = (missing: readonly number[]): boolean =>
    options.rooms === undefined || bytesOf(missing) <= leastRoom(options.rooms()).bytes

  /** What is missing is refused before it is read where there is no room for it. */
  const requireShards = (missing: readonly number[]): void => {
    const { checkpoint, format, rooms } = options
    if (rooms === undefined || missing.length === 0) return
    const now = rooms()
    const what = `${checkpoint.path}: experts of ${missing.length} of ${shardBytes.length} shards in ${format}`
    requireRoom(what, bytesOf(missing), now, { details: roomFor(missing, leastRoom(now)) })
  }

  /** What a router needs to know to ask for less. */
  const roomFor = (missing: readonly number[], { bytes, because }: MemoryRoom): ErrorDetails => {
    const largest = Math.max(...missing.map((shard) => shardBytes[shard] ?? 0))
    const more = Math.max(0, Math.floor(bytes / largest))
    return {
      mostShards: String(loaded.size + more),
      shardBytes: String(Math.ceil(largest)),
      spareBytes: String(Math.max(0, Math.floor(bytes - more * largest))),
      because,
    }
  }

  const countShards = (missing: readonly number[]): LoadCount | undefined => {
    const { checkpoint, onProgress } = options
    if (onProgress === undefined || missing.length === 0) return undefined
    const layers = [...checkpoint.spec.layers.keys()]
    const experts = missing.flatMap((shard) => layers.map((layer) => plan.expertsOf(layer, shard).length))
    return countLoad({ bytes: bytesOf(missing), experts: experts.reduce((sum, number) => sum + number, 0) }, onProgress)
  }

  const drop = (shard: number): void => {
    for (const experts of loaded.get(shard)?.values() ?? []) for (const one of experts.values()) one.dispose()
    loaded.delete(shard)
  }

  const place = async (wanted: ReadonlySet<number>): Promise<void> => {
    const missing = [...wanted].filter((shard) => !loaded.has(shard))
    const dropOthers = (): void => [...loaded.keys()].filter((shard) => !wanted.has(shard)).forEach(drop)
    if (!hasRoom(missing)) dropOthers()
    requireShards(missing)
    const count = countShards(missing)
    try {
      for (const shard of missing) loaded.set(shard, await loadShard(engine, options, { plan, shard, count }))
    } finally {
      forgetKept()
    }
    dropOthers()
  }

  let placing: Promise<void> = Promise.resolve() // one at a time: each starts from what the one before left
  const store: ExpertStore = {
    plan,
    hidden,
    readsRounded: engine.readsRounded,
    get shards() {
      return [...loaded.keys()].sort((a, b) => a - b)
    },
    place: (wanted) => {
      const next = placing.then(() => place(new Set(wanted)))
      placing = next.catch(() => undefined) // its caller hears of it
      return next
    },
    compute: ({ layer, input, calls }, sums) => {
      const experts = calls.map(({ shard, expert: id, rows, weights }) => {
        const one = expert(layer, shard, id)
        if (one !== undefined) return { expert: one, rows, weights }
        throw new ClusterError('failed_precondition', `layer ${layer}: shard ${shard} is not loaded here`)
      })
      return engine.compute({ input, hidden, calls: experts, sums })
    },
    close: () => void (isClosed = true),
    dispose: async () => {
      isClosed = true
      await placing
      for (const shard of [...loaded.keys()]) drop(shard)
      engine.dispose()
    },
  }
  return { store, expert }
}

/** Loads a shard whole or not at all. */
async function loadShard<E extends Disposable>(
  engine: ExpertEngine<E>,
  options: ExpertStoreOptions,
  { plan, shard, count }: { readonly plan: ShardPlan; readonly shard: number; readonly count: LoadCount | undefined },
): Promise<Shard<E>> {
  const { checkpoint, format, weights, turn } = options
  const layers = new Map<number, Map<number, E>>()
  try {
    for (const layer of checkpoint.spec.layers.keys()) {
      const ids = plan.expertsOf(layer, shard)
      if (ids.length === 0) continue
      const parts = new Map(ids.map((id) => [id, () => packOne(engine, options, layer, id)]))
      const experts = new Map<number, E>()
      layers.set(layer, experts)
      const place = (id: number, set: WeightSet): void => {
        const spec = ffnOf(checkpoint.spec, layer, id)
        experts.set(id, engine.place(set, String(id), spec?.activation))
        count?.add(spec === undefined ? 0 : linearBytes(ffnLinears(spec), format), 1)
      }
      await inTurns(weights.openParts(`${engine.setName}-${layer}-${shard}`, parts, place), turn)
    }
  } catch (error) {
    for (const experts of layers.values()) for (const expert of experts.values()) expert.dispose()
    throw error
  }
  return layers
}

function* packOne<E>(
  engine: ExpertEngine<E>,
  { checkpoint, format }: ExpertStoreOptions,
  layer: number,
  expert: number,
): Steps<WeightSet> {
  const spec = ffnOf(checkpoint.spec, layer, expert)
  return spec === undefined ? {} : yield* engine.pack(String(expert), readExpert(checkpoint, spec), format)
}

/** An expert by its id: routed, or the one that is always active. */
function ffnOf({ layers }: ModelSpec, layer: number, expert: number): FfnSpec | undefined {
  const ffn = layers[layer]?.ffn
  return ffn?.experts[expert] ?? ffn?.always?.ffn
}

function readExpert(checkpoint: Checkpoint, { gate, up, down }: FfnSpec) {
  return { gate: linearOf(checkpoint, gate), up: linearOf(checkpoint, up), down: linearOf(checkpoint, down) }
}
