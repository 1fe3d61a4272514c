// The short way of a MoE layer: where every touched expert is in this process and its engine, the layer runs in place,
// without a frame or a copy. Same products and same sums as the way over the wire, so the same bits (I1).

import { NEXT_GROUP, runExperts, type PlacedExpert } from '../../lib/compute/expert-layer.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import { placeFloats, placeInts } from '../../lib/compute/room.js'
import type { ShardPlan } from '../../lib/model/expert-shards.js'
import { liveReplica, type DispatchContext, type ExpertOperands } from './dispatch-context.js'
import type { Routes } from './gate.js'

/** Runs the layer here if all its experts are; returns whether they were. */
export function runNearby(context: DispatchContext, layer: number, operands: ExpertOperands, routes: Routes): boolean {
  if (context.neighbours.size === 0) return false
  const { kernels, hidden, x, isRounded, delta } = operands
  const numRows = routes.experts.length / routes.width
  const entries = sortEntries(context.plan, layer, routes)
  const calls = findCalls(context, kernels, layer, entries)
  if (calls === undefined) return false
  kernels.scratch.reset()
  const { scratch } = kernels
  const weights = placeFloats(kernels, scratch, entries.weights)
  const [rows = 0, list = 0, starts = 0] = [entries.rows, entries.list, entries.starts].map((values) =>
    placeInts(kernels, scratch, values),
  )
  const sums = { list, starts, numSums: numRows, y: delta }
  runExperts(kernels, { x, isRounded, numRows, hidden, calls, rows, weights, ...sums })
  context.counters.distinctExperts += calls.length
  return true
}

/** The rows' choices by ascending shard, then expert, then row; and each row's sum over them, grouped by shard. */
interface Entries {
  readonly experts: readonly { readonly expert: number; readonly shard: number; readonly count: number }[]
  readonly rows: Int32Array // [entries]
  readonly weights: Float32Array // [entries]
  readonly list: Int32Array // [entries]
  readonly starts: Int32Array // [rows + 1]
}

function sortEntries(plan: ShardPlan, layer: number, { width, experts, weights }: Routes): Entries {
  const counts = new Map<number, number>()
  for (let i = 0; i < experts.length; i++) counts.set(experts[i]!, (counts.get(experts[i]!) ?? 0) + 1)
  const touched = [...counts]
    .map(([expert, count]) => ({ expert, count, shard: plan.shardOf(layer, expert) }))
    .sort((a, b) => a.shard - b.shard || a.expert - b.expert)
  const next = new Map<number, number>() // expert → place of its next entry
  const shards = new Int32Array(experts.length) // of entries
  let place = 0
  for (const { expert, count, shard } of touched) {
    next.set(expert, place)
    shards.fill(shard, place, place + count)
    place += count
  }
  const sorted = {
    rows: new Int32Array(experts.length),
    weights: new Float32Array(experts.length),
    list: new Int32Array(experts.length),
    starts: new Int32Array(experts.length / width + 1),
  }
  for (let i = 0; i < experts.length; i++) {
    const entry = next.get(experts[i]!) ?? 0
    next.set(experts[i]!, entry + 1)
    sorted.rows[entry] = Math.floor(i / width)
    sorted.weights[entry] = weights[i]!
    sorted.list[i] = entry
  }
  for (let row = 0; row < sorted.starts.length - 1; row++) {
    sorted.starts[row + 1] = (row + 1) * width
    groupByShard(sorted.list.subarray(row * width, (row + 1) * width).sort(), shards)
  }
  return { experts: touched, ...sorted }
}

/** Flags the entries that begin a further shard. */
function groupByShard(list: Int32Array, shards: Int32Array): void {
  for (let i = list.length - 1; i > 0; i--) {
    if (shards[list[i]!] !== shards[list[i - 1]!]) list[i]! |= NEXT_GROUP
  }
}

/** The touched experts in the engine's memory, or undefined where one is elsewhere. */
function findCalls(context: DispatchContext, kernels: Kernels, layer: number, { experts }: Entries) {
  const calls: { expert: PlacedExpert; count: number }[] = []
  const rowsOf = new Map<string, number>()
  for (const { shard, expert: id, count } of experts) {
    const worker = liveReplica(context, shard)
    const neighbour = worker === undefined ? undefined : context.neighbours.get(worker)
    const expert = neighbour?.kernels === kernels ? neighbour.expert(layer, shard, id) : undefined
    if (worker === undefined || expert === undefined) return undefined
    rowsOf.set(worker, (rowsOf.get(worker) ?? 0) + count)
    calls.push({ expert, count })
  }
  for (const [worker, rows] of rowsOf) {
    context.used.add(worker)
    context.neighbours.get(worker)?.count(1, rows)
  }
  return calls
}
