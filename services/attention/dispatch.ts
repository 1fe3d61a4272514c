// Dispatch and combine of one MoE layer: one frame per touched expert worker with the union of its rows, all sent
// before any reply is read; partial sums per shard are added in ascending shard order once all have arrived.
//
// Invariants
//   I1  The sum over a row's experts has one shape: inside a shard by ascending expert, then shards by ascending id.
//   I6  A shard without a live replica fails the step with an error that names layer and shard; nothing is skipped.

import type { ExpertCall } from '../../lib/compute/expert-call.js'
import { addSums } from '../../lib/compute/expert-layer.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import { placeInts } from '../../lib/compute/room.js'
import { q16RowBytes } from '../../lib/wire/tensor.js'
import type { ExpertOperands } from '../../lib/decode/experts-in-place.js'
import { askExperts } from './ask-experts.js'
import type { DispatchContext } from './dispatch-context.js'
import type { Place } from './expert-frame.js'
import type { Routes } from '../../lib/decode/gate.js'
import { runNearby } from './nearby-experts.js'

/** Rows through the layer's experts into delta; how long the slowest of its workers computed, in milliseconds. */
export async function dispatch(
  context: DispatchContext,
  layer: number,
  operands: ExpertOperands,
  routes: Routes,
): Promise<number> {
  const { clock } = context.system
  const startedMs = clock.monotonicMs()
  if (runNearby(context, layer, operands, routes)) return clock.monotonicMs() - startedMs
  const { kernels, hidden, isRounded } = operands
  const numRows = routes.experts.length / routes.width
  const calls = groupCalls(routes, numRows, (expert) => context.plan.shardOf(layer, expert))
  context.counters.distinctExperts += calls.length
  for (const { expert, rows } of calls) context.counters.expertRows.note(layer, expert, rows.length)
  const partials = placePartials(kernels, calls, hidden * 4)
  try {
    const { places } = partials
    const slowest = { computeMs: 0 }
    const work = { kernels, hidden, isRounded, ...rowsOf(operands, numRows), calls, places, slowest }
    await askExperts(context, layer, work)
    combine(operands, numRows, partials)
    return slowest.computeMs
  } finally {
    kernels.release(partials.address)
  }
}

/** A step's rows as bytes. They stay what they are until all workers have answered. */
function rowsOf({ kernels, hidden, x, isRounded }: ExpertOperands, numRows: number) {
  const rowBytes = isRounded ? q16RowBytes(hidden) : hidden * 4
  return { rowBytes, x: kernels.bytes(x, numRows * rowBytes) }
}

interface Partials {
  readonly address: number
  readonly places: ReadonlyMap<number, Place> // by shard, ascending
}

/** Room for a partial row of every touched shard and row, shards ascending, rows ascending. */
function placePartials(kernels: Kernels, calls: readonly ExpertCall[], rowBytes: number): Partials {
  const rowsOfShard = new Map<number, Set<number>>() // calls ascend by shard
  for (const { shard, rows } of calls) {
    const touched = rowsOfShard.get(shard) ?? new Set<number>()
    rowsOfShard.set(shard, touched)
    for (let i = 0; i < rows.length; i++) touched.add(rows[i]!)
  }
  const numRows = [...rowsOfShard.values()].reduce((sum, { size }) => sum + size, 0)
  const address = kernels.allocate(numRows * rowBytes)
  let next = address
  const places = new Map<number, Place>()
  for (const [shard, rows] of rowsOfShard) {
    places.set(shard, { shard, rows: [...rows].sort((a, b) => a - b), address: next })
    next += rows.size * rowBytes
  }
  return { address, places }
}

/** Calls by ascending shard, then ascending expert. */
function groupCalls(routes: Routes, numRows: number, shardOf: (expert: number) => number): ExpertCall[] {
  const byExpert = new Map<number, { rows: number[]; weights: number[] }>()
  for (let row = 0; row < numRows; row++) {
    for (let i = row * routes.width; i < (row + 1) * routes.width; i++) {
      const expert = routes.experts[i]!
      const call = byExpert.get(expert) ?? { rows: [], weights: [] }
      byExpert.set(expert, call)
      call.rows.push(row)
      call.weights.push(routes.weights[i]!)
    }
  }
  return [...byExpert]
    .map(([expert, call]) => ({ shard: shardOf(expert), expert, ...call }))
    .sort((a, b) => a.shard - b.shard || a.expert - b.expert)
}

/** Each row's partial sums, added by ascending shard, into delta. */
function combine({ kernels, hidden, delta }: ExpertOperands, numRows: number, { address, places }: Partials): void {
  const terms: number[][] = Array.from({ length: numRows }, () => [])
  let place = 0
  for (const { rows } of places.values()) for (const row of rows) terms[row]?.push(place++)
  const { scratch } = kernels
  scratch.reset()
  let end = 0
  const list = placeInts(kernels, scratch, terms.flat())
  const starts = placeInts(kernels, scratch, [0, ...terms.map(({ length }) => (end += length))])
  const sums = { x: address, xStride: hidden * 4, hidden, list, starts, numSums: numRows, y: delta }
  kernels.run(() => addSums(kernels, sums))
}
