// A MoE layer whose experts are all in this process's engine: it runs in place, without a frame or a copy. Same products
// and same sums as the way over the wire, so the same bits (I1).

import type { TouchedExpert } from '../compute/expert-call.js'
import { NEXT_GROUP, runExperts, type PlacedExpert } from '../compute/expert-layer.js'
import type { Kernels } from '../compute/kernels.js'
import type { ShardPlan } from '../model/expert-shards.js'
import { sortPart, type Routes } from './gate.js'

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
  const touched = touchedExperts(plan, layer, routes.experts)
  const experts = find(touched)
  if (experts === undefined) return undefined
  const { kernels, hidden, x, isRounded, delta } = operands
  kernels.scratch.reset()
  const calls = experts.map((expert, i) => ({ expert, count: touched[i]!.count }))
  const { numRows, rows, weights, list, starts } = placeEntries(kernels, touched, routes)
  const sums = numRows
  runExperts(kernels, { x, isRounded, numRows, hidden, calls, rows, weights, list, starts, numSums: sums, y: delta })
  return touched.length
}

/** Numbers by expert, of the call under way. */
let counts = new Int32Array(0)

function zeroCounts(experts: Int32Array): void {
  let most = 0
  for (let i = 0; i < experts.length; i++) most = Math.max(most, experts[i]!)
  if (most >= counts.length) counts = new Int32Array(2 * (most + 1))
  counts.fill(0)
}

/** By ascending shard, then expert. */
function touchedExperts(plan: ShardPlan, layer: number, experts: Int32Array): TouchedExpert[] {
  zeroCounts(experts)
  for (let i = 0; i < experts.length; i++) counts[experts[i]!]! += 1
  const touched: TouchedExpert[] = []
  let isSorted = true // the expert that is always active may come last, in a shard that does not
  for (let expert = 0; expert < counts.length; expert++) {
    const count = counts[expert]!
    if (count === 0) continue
    const shard = plan.shardOf(layer, expert)
    isSorted &&= touched.length === 0 || touched[touched.length - 1]!.shard <= shard
    touched.push({ expert, count, shard })
  }
  return isSorted ? touched : touched.sort((a, b) => a.shard - b.shard || a.expert - b.expert)
}

/**
 * Places the rows' choices, expert after expert as they are touched, and each row's sum over its own, grouped by shard: one
 * list of words, [entries] rows, [entries] places in the sum's list, [rows + 1] starts in it, [entries] weights.
 */
function placeEntries(kernels: Kernels, touched: readonly TouchedExpert[], { width, experts, weights }: Routes) {
  const numEntries = experts.length
  const numRows = numEntries / width
  const [list, starts, weighed] = [numEntries, 2 * numEntries, 2 * numEntries + numRows + 1] // after the rows
  const numWords = weighed + numEntries
  const address = kernels.scratch.take(numWords * 4)
  const words = kernels.ints(address, numWords)
  const floats = kernels.floats(address, numWords)
  const next = counts // each expert's next entry
  let entry = 0
  for (const { expert, count } of touched) {
    next[expert] = entry
    entry += count
  }
  for (let i = 0; i < numEntries; i++) {
    const place = next[experts[i]!]!++
    words[place] = Math.floor(i / width)
    floats[weighed + place] = weights[i]!
    words[list + i] = place
  }
  for (let row = 0; row <= numRows; row++) words[starts + row] = row * width
  const shards = shardsOf(touched, numEntries)
  for (let row = 0; row < numRows; row++) {
    sortPart(words, list + row * width, width)
    groupByShard(words, list + row * width, width, shards)
  }
  return {
    numRows,
    rows: address,
    list: address + list * 4,
    starts: address + starts * 4,
    weights: address + weighed * 4,
  }
}

/** The shard of each entry. */
function shardsOf(touched: readonly TouchedExpert[], numEntries: number): Int32Array {
  const shards = new Int32Array(numEntries)
  let entry = 0
  for (const { shard, count } of touched) shards.fill(shard, entry, (entry += count))
  return shards
}

/** Flags the entries that begin a further shard. */
function groupByShard(list: Int32Array, first: number, length: number, shards: Int32Array): void {
  for (let i = first + length - 1; i > first; i--) {
    if (shards[list[i]!] !== shards[list[i - 1]!]) list[i]! |= NEXT_GROUP
  }
}
