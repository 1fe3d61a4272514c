// A MoE layer whose experts are all in this process's engine: it runs in place, without a frame or a copy. Same products
// and same sums as the way over the wire, so the same bits (I1).

import type { TouchedExpert } from '../compute/expert-call.js'
import { NEXT_GROUP, runExperts, type PlacedExpert } from '../compute/expert-layer.js'
import type { Kernels } from '../compute/kernels.js'
import { placeFloats, placeInts } from '../compute/room.js'
import type { ShardPlan } from '../model/expert-shards.js'
import type { Routes } from './gate.js'

/** Rows of the engine's memory: what experts read, and where their sums go. Addresses. */
export interface ExpertOperands {
  readonly kernels: Kernels
  readonly hidden: number
  readonly x: number // [rows, hidden]
  readonly isRounded: boolean // whether x lies as products read it, else float32
  readonly delta: number
}

/** Finds the touched experts; undefined where not all of them are here. */
export type FindExperts = (touched: readonly TouchedExpert[]) => readonly PlacedExpert[] | undefined

/** Runs the layer if `find` has all its experts; how many were touched, or undefined where it did not run. */
export function runInPlace(
  plan: ShardPlan,
  layer: number,
  operands: ExpertOperands,
  routes: Routes,
  find: FindExperts,
): number | undefined {
  const { kernels, hidden, x, isRounded, delta } = operands
  const numRows = routes.experts.length / routes.width
  const entries = sortEntries(plan, layer, routes)
  const experts = find(entries.experts)
  if (experts === undefined) return undefined
  kernels.scratch.reset()
  const { scratch } = kernels
  const weights = placeFloats(kernels, scratch, entries.weights)
  const [rows = 0, list = 0, starts = 0] = [entries.rows, entries.list, entries.starts].map((values) =>
    placeInts(kernels, scratch, values),
  )
  const calls = experts.map((expert, i) => ({ expert, count: entries.experts[i]!.count }))
  const sums = { list, starts, numSums: numRows, y: delta }
  runExperts(kernels, { x, isRounded, numRows, hidden, calls, rows, weights, ...sums })
  return calls.length
}

/** The rows' choices by ascending shard, then expert, then row; and each row's sum over them, grouped by shard. */
interface Entries {
  readonly experts: readonly TouchedExpert[]
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
