// Dispatch and combine of one MoE layer: one frame per touched expert worker with the union of its rows, all sent
// before any reply is read; partial sums per shard are added in ascending shard order once all have arrived.
//
// Invariants
//   I1  The sum over a row's experts has one shape: inside a shard by ascending expert, then shards by ascending id.
//   I6  A shard without a live replica fails the step with an error that names layer and shard; nothing is skipped.

import { askWhileAlive } from '../../lib/actor/ask-while-alive.js'
import type { ExpertCall } from '../../lib/compute/expert-call.js'
import { ClusterError } from '../../lib/errors.js'
import { packF32, packI32, readF32 } from '../../lib/wire/tensor.js'
import { liveReplica, type DispatchContext, type ExpertOperands } from './dispatch-context.js'
import type { Routes } from './gate.js'
import { runNearby } from './nearby-experts.js'

/** Partial sums of one shard: row → its place in `data`. */
interface Partial {
  readonly shard: number
  readonly rows: readonly number[]
  readonly data: Float32Array // [rows, hidden]
}

/** n through the layer's experts into delta. */
export async function dispatch(
  context: DispatchContext,
  layer: number,
  operands: ExpertOperands,
  routes: Routes,
): Promise<void> {
  if (runNearby(context, layer, operands, routes)) return
  const { kernels, n, delta, hidden } = operands
  const size = (routes.experts.length / routes.width) * hidden
  kernels.floats(delta, size).set(await sendOut(context, layer, kernels.floats(n, size), routes))
}

async function sendOut(
  context: DispatchContext,
  layer: number,
  n: Float32Array,
  routes: Routes,
): Promise<Float32Array> {
  const numRows = routes.experts.length / routes.width
  const calls = groupCalls(routes, numRows, (expert) => context.plan.shardOf(layer, expert))
  context.counters.distinctExperts += calls.length
  const partials = await askWorkers(context, layer, { n, hidden: n.length / numRows, calls })
  return combine(partials, numRows, n.length / numRows)
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

interface Work {
  readonly n: Float32Array
  readonly hidden: number
  readonly calls: readonly ExpertCall[]
}

async function askWorkers(context: DispatchContext, layer: number, work: Work): Promise<Partial[]> {
  const byWorker = new Map<string, ExpertCall[]>()
  for (const call of work.calls) {
    const worker = chooseWorker(context, layer, call)
    byWorker.set(worker, [...(byWorker.get(worker) ?? []), call])
  }
  // A worker of this process computes when it is asked: the frames to the others are under way by then.
  const isNear = (worker: string): number => (context.neighbours.has(worker) ? 1 : 0)
  const inOrder = [...byWorker].sort(([a], [b]) => isNear(a) - isNear(b))
  const asked = inOrder.map(([worker, calls]) => askOrFailOver(context, layer, worker, { ...work, calls }))
  return (await Promise.all(asked)).flat()
}

function chooseWorker(context: DispatchContext, layer: number, call: ExpertCall): string {
  const worker = liveReplica(context, call.shard)
  if (worker !== undefined) return worker
  throw new ClusterError(
    'unavailable',
    `layer ${layer}, expert ${call.expert}: no live replica of shard ${call.shard}`,
    {
      details: {
        reason: 'EXPERT_UNAVAILABLE',
        layer: String(layer),
        expert: String(call.expert),
        shard: String(call.shard),
      },
    },
  )
}

/** Expert FFNs are pure, so the same rows go to another replica when a worker does not answer. */
async function askOrFailOver(context: DispatchContext, layer: number, worker: string, work: Work): Promise<Partial[]> {
  try {
    return await askWorker(context, layer, worker, work)
  } catch (error) {
    const failure = ClusterError.from(error)
    if (
      failure.code !== 'unavailable' &&
      failure.code !== 'deadline_exceeded' &&
      failure.code !== 'failed_precondition'
    )
      throw failure
    if (context.signal.aborted) throw failure
    context.failed.add(worker)
    return askWorkers(context, layer, work)
  }
}

async function askWorker(context: DispatchContext, layer: number, worker: string, work: Work): Promise<Partial[]> {
  context.used.add(worker)
  const neighbour = context.neighbours.get(worker)
  if (neighbour !== undefined)
    return splitPartials(neighbour.compute({ layer, hidden: work.n, calls: work.calls }), work)
  const union = [...new Set(work.calls.flatMap((call) => Array.from(call.rows)))].sort((a, b) => a - b)
  const placeOf = new Map(union.map((row, place) => [row, place]))
  const hidden = new Float32Array(union.length * work.hidden)
  union.forEach((row, place) =>
    hidden.set(work.n.subarray(row * work.hidden, (row + 1) * work.hidden), place * work.hidden),
  )
  const body = {
    step: context.step,
    layer,
    hidden: packF32(hidden, [union.length, work.hidden]),
    experts: packI32(work.calls.map((call) => call.expert)),
    counts: packI32(work.calls.map((call) => call.rows.length)),
    rows: packI32(work.calls.flatMap((call) => Array.from(call.rows, (row) => placeOf.get(row) ?? 0))),
    weights: packF32(Float32Array.from(work.calls.flatMap((call) => Array.from(call.weights)))),
  }
  const answer = await askWhileAlive(
    context.system,
    worker,
    { kind: 'expert.compute', body, replyKind: 'expert.output' },
    {
      timeoutMs: context.timeoutMs,
      signal: context.signal,
      ...(context.traceparent === undefined ? {} : { traceparent: context.traceparent }),
    },
  )
  return splitPartials(readF32(answer.partials, 'partials'), work)
}

/** The reply holds, per touched shard ascending and row ascending, one partial row. */
function splitPartials(data: Float32Array, { calls, hidden }: Work): Partial[] {
  const rowsOfShard = new Map<number, Set<number>>()
  for (const call of calls) {
    const rows = rowsOfShard.get(call.shard) ?? new Set()
    rowsOfShard.set(call.shard, rows)
    for (let i = 0; i < call.rows.length; i++) rows.add(call.rows[i]!)
  }
  const numRows = [...rowsOfShard.values()].reduce((sum, rows) => sum + rows.size, 0)
  if (data.length !== numRows * hidden) {
    throw new ClusterError('internal', `partials: want ${numRows} x ${hidden} values, got ${data.length}`)
  }
  let offset = 0
  return [...rowsOfShard].map(([shard, rows]) => {
    const size = rows.size * hidden
    const partial = { shard, rows: [...rows].sort((a, b) => a - b), data: data.subarray(offset, offset + size) }
    offset += size
    return partial
  })
}

function combine(partials: readonly Partial[], numRows: number, hidden: number): Float32Array {
  const sum = new Float32Array(numRows * hidden)
  const touched = new Uint8Array(numRows)
  for (const { rows, data } of [...partials].sort((a, b) => a.shard - b.shard)) {
    rows.forEach((row, place) => {
      const source = data.subarray(place * hidden, (place + 1) * hidden)
      if (touched[row] === 0) sum.set(source, row * hidden)
      else for (let i = 0, at = row * hidden; i < hidden; i++, at++) sum[at]! += source[i]!
      touched[row] = 1
    })
  }
  return sum
}
