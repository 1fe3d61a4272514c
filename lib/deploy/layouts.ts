// Every way to spread a cluster over the nodes: which role where, how many of it, what of a node each worker gets. Roles
// have nodes of their own, or share them.
//
// Invariants
//   L1  What fits on some nodes is also a layout for more of them: more nodes are never worse.
//   L2  At most as many expert workers as there are shards to hold.
//   L3  Where GPUs are wanted at least one role computes on them.

import { SIZE_BOUNDS } from '../wire/sizes.js'
import { CPU, GPU } from './constants.js'
import { allocatable, fullestNode, unionOf, type NodePool, type PodRequest } from './node-pool.js'
import { roomOf, type Room } from './memory.js'
import type { Processor } from './step-time.js'
import type { WeightFormat } from '../model/spec.js'

export interface Seat {
  readonly pool: NodePool
  readonly nodes: number
  readonly perNode: number
  readonly workers: number
  readonly cpus: number // of a worker
  readonly isGpu: boolean
  readonly room: Room
  readonly processor: Processor
}

export interface Layout {
  readonly attention: Seat
  readonly experts: Seat
  readonly isShared: boolean // both on the same nodes
  readonly numNodes: number
}

export interface LayoutOptions {
  readonly pools: readonly NodePool[]
  readonly wantsGpu: boolean
  readonly weights: WeightFormat
  readonly maxExpertWorkers: number // shards × replicas
  readonly minExpertNodes: number // replicas of a shard are on different nodes
  readonly services: readonly PodRequest[] // everything beside the workers, spread over all nodes
}

const LEAST_CPUS = 0.1
const ATTENTION_PER_NODE = [1, 2, 4]
const SHARES = [0.25, 0.5, 0.75] // of a node, for attention, where roles share it
const GPU_CPUS = 4 // a worker that computes on a GPU needs no more

interface Budget extends PodRequest {
  readonly bandwidth: number
}

export function layoutsOf(options: LayoutOptions): readonly Layout[] {
  const { pools } = options
  const all = pools.length > 1 ? [...pools, unionOf(pools)] : pools
  const numNodes = pools.reduce((sum, { count }) => sum + count, 0)
  const services = fullestNode(options.services, numNodes)
  const context: Context = { ...options, fullest: services }
  const layouts = all.flatMap((first) => [
    ...apart(first, first, context),
    ...shared(first, context),
    ...pools
      .filter((second) => pools.includes(first) && second !== first)
      .flatMap((second) => apart(first, second, context)),
  ])
  return layouts.filter(({ attention, experts }) => !options.wantsGpu || attention.isGpu || experts.isGpu)
}

interface Context extends LayoutOptions {
  readonly fullest: PodRequest
}

/** What workers may take of a node, services and system aside. */
function budgetOf(pool: NodePool, { fullest }: Context): Budget {
  const { cpus, memory } = allocatable(pool)
  return { cpus: cpus - fullest.cpus, memory: memory - fullest.memory, bandwidth: pool.bandwidth }
}

function apart(attentionPool: NodePool, expertPool: NodePool, context: Context): Layout[] {
  const isOne = attentionPool === expertPool
  const seats = expertSeats(expertPool, context)
  const layouts: Layout[] = []
  for (const attention of seatsOf(attentionPool, attentionChoices(attentionPool, context), context)) {
    if (attention.workers > SIZE_BOUNDS.attention.max) continue
    for (const experts of seats) {
      const numNodes = attention.nodes + experts.nodes
      if (isOne && numNodes > attentionPool.count) continue
      layouts.push({ attention, experts, isShared: false, numNodes })
    }
  }
  return layouts
}

function shared(pool: NodePool, context: Context): Layout[] {
  const whole = budgetOf(pool, context)
  const layouts: Layout[] = []
  for (const share of SHARES) {
    const part = (of: number): Budget => ({
      cpus: whole.cpus * of,
      memory: whole.memory,
      bandwidth: whole.bandwidth * of,
    })
    const attentionSeats = seatsOf(pool, [1], context, part(share))
    for (const experts of expertSeats(pool, context, part(1 - share), 1)) {
      for (const attention of attentionSeats) {
        if (attention.nodes > experts.nodes) break
        layouts.push({ attention, experts, isShared: true, numNodes: experts.nodes })
      }
    }
  }
  return layouts
}

const attentionChoices = (pool: NodePool, context: Context): readonly number[] =>
  usesGpu(pool, context) ? upTo(pool.gpus) : ATTENTION_PER_NODE

const usesGpu = (pool: NodePool, { wantsGpu }: LayoutOptions): boolean => wantsGpu && pool.gpus > 0
const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i + 1)

function expertSeats(pool: NodePool, context: Context, budget?: Budget, gpusTaken = 0): Seat[] {
  const perNode = usesGpu(pool, context) ? upTo(pool.gpus - gpusTaken) : upTo(8)
  return seatsOf(pool, perNode, context, budget).filter(
    ({ workers, nodes }) => workers <= context.maxExpertWorkers && nodes >= context.minExpertNodes,
  )
}

/** The same worker on any number of nodes, fewest first. */
function seatsOf(
  pool: NodePool,
  perNode: readonly number[],
  context: Context,
  budget = budgetOf(pool, context),
): Seat[] {
  return perNode.flatMap((pods) => {
    const seat = seatOf(pool, pods, budget, context)
    const most = Math.min(pool.count, Math.floor(Math.max(SIZE_BOUNDS.attention.max, context.maxExpertWorkers) / pods))
    return seat === undefined ? [] : upTo(most).map((nodes) => ({ ...seat, nodes, workers: nodes * pods }))
  })
}

function seatOf(
  pool: NodePool,
  perNode: number,
  budget: Budget,
  context: Context,
): Omit<Seat, 'nodes' | 'workers'> | undefined {
  const isGpu = usesGpu(pool, context)
  const cpus = wholeCpus(Math.min(budget.cpus / perNode, isGpu ? GPU_CPUS : Infinity))
  if (cpus < LEAST_CPUS || (isGpu && perNode > pool.gpus)) return undefined
  return {
    pool,
    perNode,
    cpus,
    isGpu,
    room: roomOf(budget.memory / perNode, Math.ceil(cpus), isGpu ? pool.gpuMemory : undefined),
    processor: isGpu ? gpuProcessor(pool) : cpuProcessor(cpus, budget.bandwidth / perNode, context.weights),
  }
}

/** Whole processors are one thread each; below one, in twentieths. */
const wholeCpus = (cpus: number): number => (cpus >= 1 ? Math.floor(cpus) : Math.floor(cpus * 20 + 1e-9) / 20)

const cpuProcessor = (cpus: number, bandwidth: number, weights: WeightFormat): Processor => ({
  bytesPerMs: Math.min(cpus * CPU.readBytesPerMsPerCore, bandwidth / 1000) * CPU.readShare,
  operationsPerMs: cpus * CPU.operationsPerMsPerCore[weights],
  callMs: 0, // of the hop and the layer
})

const gpuProcessor = ({ gpuBandwidth, gpuOperations }: NodePool): Processor => ({
  bytesPerMs: (gpuBandwidth / 1000) * GPU.readShare,
  operationsPerMs: gpuOperations / 1000,
  callMs: GPU.callMs,
})
