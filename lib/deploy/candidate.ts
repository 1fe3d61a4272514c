// Whether a layout can serve what is asked for, and how fast: memory first, then the largest batch within the time per
// token. What does not fit says how far it came and what it lacked.

import { SIZE_BOUNDS } from '../wire/sizes.js'
import { HOP, TOKEN_BUDGET } from './constants.js'
import type { Layout } from './layouts.js'
import {
  attentionWorkerBytes,
  expertBytes,
  mostHeld,
  residentBytes,
  roomForStreams,
  roomForTokens,
  streamTokens,
  type ModelMemory,
  type Room,
} from './memory.js'
import type { ModelLoad } from './model-load.js'
import { stepTime, type Setup, type StepTime } from './step-time.js'

export interface Demand {
  readonly streams: number | undefined // undefined: as many as the time and the memory allow
  readonly context: number
  readonly tpotMs: number
  readonly replicas: number
  readonly isSpared: boolean // every expert worker has room for a shard more
}

export interface Model {
  readonly load: ModelLoad
  readonly memory: ModelMemory
}

export interface Candidate {
  readonly layout: Layout
  readonly setup: Setup
  readonly microBatches: number
  readonly shardsPerWorker: number
  readonly spareShards: number // more that an expert worker has room for
  readonly streams: number
  readonly streamsPerWorker: number
  readonly kvTokens: number // of an attention worker
  readonly roomForStreams: number // that the KV has
  readonly expertHeld: number // bytes where it computes
  readonly expertResident: number // bytes of its container
  readonly attentionHeld: number
  readonly attentionResident: number
  readonly time: StepTime
  readonly tokensPerSecond: number
}

/** What a layout lacked; a later stage is nearer to a plan. */
export type Lack =
  | { readonly stage: 'nodes'; readonly needs: number; readonly has: number } // there is no layout at all
  | {
      readonly stage: 'process' | 'experts' | 'attention' | 'kv' | 'time'
      readonly layout: Layout
      readonly shardsPerWorker: number
      readonly needs: number // bytes, streams or ms
      readonly has: number
    }

export const STAGES: readonly Lack['stage'][] = ['nodes', 'process', 'experts', 'attention', 'kv', 'time']
export const isLack = (outcome: Candidate | Lack): outcome is Lack => 'stage' in outcome

/** A busy shard's further holder, and one that is loaded while another is not yet dropped. */
export const SPARE_SHARDS = 2
/** Whether shards may move by load: only with room for what moves. */
export const rebalances = (shards: number, spare: number, numShards: number): boolean =>
  spare >= Math.min(SPARE_SHARDS, numShards - shards)

/** KV for twice the streams where there is room: prefixes are kept. */
const KV_PER_STREAM = 2

export function judge(model: Model, layout: Layout, demand: Demand, microBatches: number): Candidate | Lack {
  const { load, memory } = model
  const { attention, experts } = layout
  const shardsPerWorker = Math.ceil((load.numShards * demand.replicas) / experts.workers)
  const lack = (stage: Exclude<Lack['stage'], 'nodes'>, needs: number, has: number): Lack => ({
    stage,
    layout,
    shardsPerWorker,
    needs,
    has,
  })

  const fitsShards = (count: number): boolean => {
    const held = expertBytes(memory, count)
    return (
      held <= experts.room.device &&
      residentBytes('expert-worker', held, experts.room, memory) <= experts.room.container
    )
  }
  const others = load.numShards - shardsPerWorker
  const least = shardsPerWorker + Math.min(others, demand.isSpared ? 1 : 0)
  const leastHeld = expertBytes(memory, least)
  if (leastHeld > experts.room.device) return lack('process', leastHeld, experts.room.device)
  if (!fitsShards(least))
    return lack('experts', residentBytes('expert-worker', leastHeld, experts.room, memory), experts.room.container)
  const spareShards = largestWithin(Math.min(others, SPARE_SHARDS), (count) => fitsShards(shardsPerWorker + count))
  const expertHeld = expertBytes(memory, shardsPerWorker + spareShards)
  const expertResident = residentBytes('expert-worker', expertHeld, experts.room, memory)

  const beside = layout.isShared ? experts.perNode * expertResident : 0
  const room: Room = { ...attention.room, container: attention.room.container - beside }
  const most = mostHeld('attention', room)
  const oneStream = attentionWorkerBytes(memory, 1, streamTokens(demand.context))
  const oneResident = residentBytes('attention', oneStream, room, memory)
  if (oneStream > room.device) return lack('attention', oneStream, room.device)
  if (oneResident > room.container) return lack('attention', oneResident, room.container)

  const byMemory = Math.min(roomForStreams(memory, most, demand.context), TOKEN_BUDGET) * attention.workers
  if (demand.streams !== undefined && demand.streams > byMemory) return lack('kv', demand.streams, byMemory)
  const setup = setupOf(load, layout, demand.context, microBatches)
  const isInTime = (count: number): boolean => stepTime(setup, count).totalMs <= demand.tpotMs
  const streams = Math.max(1, demand.streams ?? largestWithin(byMemory, isInTime))
  const time = stepTime(setup, streams)
  if (time.totalMs > demand.tpotMs) return lack('time', time.totalMs, demand.tpotMs)

  const streamsPerWorker = Math.ceil(streams / attention.workers)
  const wantedTokens = KV_PER_STREAM * streamsPerWorker * streamTokens(demand.context)
  const kvTokens = Math.min(roomForTokens(memory, most, streamsPerWorker), wantedTokens)
  const attentionHeld = attentionWorkerBytes(memory, streamsPerWorker, kvTokens)
  return {
    layout,
    setup,
    microBatches,
    shardsPerWorker,
    spareShards,
    streams,
    streamsPerWorker,
    kvTokens,
    roomForStreams: byMemory,
    expertHeld,
    expertResident,
    attentionHeld,
    attentionResident: residentBytes('attention', attentionHeld, room, memory),
    time,
    tokensPerSecond: (streams / time.totalMs) * 1000,
  }
}

function setupOf(load: ModelLoad, layout: Layout, context: number, microBatches: number): Setup {
  const { attention, experts, numNodes } = layout
  const isOneNode = numNodes === 1
  return {
    load,
    attention: attention.processor,
    experts: experts.processor,
    numAttention: Math.min(attention.workers, SIZE_BOUNDS.attention.max),
    numExpertWorkers: experts.workers,
    microBatches,
    networkBytesPerMs: isOneNode ? Infinity : attention.pool.network / attention.perNode / 1000,
    roundTripMs: isOneNode ? 0 : HOP.roundTripMs,
    context,
  }
}

/** The largest number up to `most` for which it holds, 0 where it never does; what holds for one holds for all below. */
export function largestWithin(most: number, holds: (count: number) => boolean): number {
  let [low, high] = [0, most]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (holds(middle)) low = middle
    else high = middle - 1
  }
  return low
}

/** Whether the first is the better plan: faster, then with fewer nodes, then with fewer workers. */
export function isBetter(a: Candidate, b: Candidate): boolean {
  const rank = ({ tokensPerSecond, layout, microBatches }: Candidate): readonly number[] => [
    -tokensPerSecond,
    layout.numNodes,
    layout.attention.workers + layout.experts.workers,
    microBatches,
  ]
  const [first, second] = [rank(a), rank(b)]
  const difference = first.findIndex((value, i) => value !== second[i])
  return difference !== -1 && (first[difference] ?? 0) < (second[difference] ?? 0)
}
