// Dispatch and combine of one MoE layer: one frame per touched expert worker with the union of its rows, all sent
// before any reply is read; partial sums per shard are added in ascending shard order once all have arrived.
//
// Invariants
//   I1  The sum over a row's experts has one shape: inside a shard by ascending expert, then shards by ascending id.
//   I6  A shard without a live replica fails the step with an error that names layer and shard; nothing is skipped.

import { askWhileAlive } from '../../lib/actor/ask-while-alive.js'
import type { ExpertCall, ExpertInput } from '../../lib/compute/expert-call.js'
import { sumTasks } from '../../lib/compute/expert-layer.js'
import { placeInts } from '../../lib/compute/room.js'
import { ClusterError } from '../../lib/errors.js'
import { bytesOfF32, packF32, packI32, packQ16, q16RowBytes } from '../../lib/wire/tensor.js'
import { liveReplica, type DispatchContext, type ExpertOperands } from './dispatch-context.js'
import type { Routes } from './gate.js'
import { runNearby } from './nearby-experts.js'

/** Partial sums of one shard: row → its place in `data`. */
interface Partial {
  readonly shard: number
  readonly rows: readonly number[]
  readonly data: Uint8Array // float32 [rows, hidden]
}

/** Rows through the layer's experts into delta. */
export async function dispatch(
  context: DispatchContext,
  layer: number,
  operands: ExpertOperands,
  routes: Routes,
): Promise<void> {
  if (runNearby(context, layer, operands, routes)) return
  const numRows = routes.experts.length / routes.width
  const calls = groupCalls(routes, numRows, (expert) => context.plan.shardOf(layer, expert))
  context.counters.distinctExperts += calls.length
  const work = { hidden: operands.hidden, isRounded: operands.isRounded, ...rowsOf(operands, numRows), calls }
  combine(operands, numRows, await askWorkers(context, layer, work))
}

/** A step's rows as bytes. They stay what they are until all workers have answered. */
function rowsOf({ kernels, hidden, x, isRounded }: ExpertOperands, numRows: number) {
  const rowBytes = isRounded ? q16RowBytes(hidden) : hidden * 4
  return { rowBytes, x: kernels.bytes(x, numRows * rowBytes) }
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
  readonly x: Uint8Array // of all rows of the step
  readonly rowBytes: number
  readonly isRounded: boolean
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
  const { rows, input } = gatherRows(work)
  const calls = work.calls.map((call) => ({ ...call, rows: Array.from(call.rows, (row) => rows.indexOf(row)) }))
  const neighbour = context.neighbours.get(worker)
  if (neighbour !== undefined) {
    const { buffer, byteOffset, byteLength } = neighbour.compute({ layer, input, calls })
    return splitPartials(new Uint8Array(buffer, byteOffset, byteLength), work)
  }
  const body = {
    step: context.step,
    layer,
    hidden: work.isRounded
      ? packQ16(input.bytes, input.numRows, work.hidden)
      : packF32(new Float32Array(input.bytes.buffer), [input.numRows, work.hidden]),
    experts: packI32(calls.map(({ expert }) => expert)),
    counts: packI32(calls.map((call) => call.rows.length)),
    rows: packI32(calls.flatMap((call) => call.rows)),
    weights: packF32(Float32Array.from(calls.flatMap(({ weights }) => Array.from(weights)))),
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
  return splitPartials(bytesOfF32(answer.partials, 'partials'), work)
}

/** The union of the rows that some call needs, ascending. */
function gatherRows({ x, rowBytes, isRounded, calls }: Work): { rows: number[]; input: ExpertInput } {
  const rows = [...new Set(calls.flatMap((call) => Array.from(call.rows)))].sort((a, b) => a - b)
  const bytes = new Uint8Array(rows.length * rowBytes)
  rows.forEach((row, place) => bytes.set(x.subarray(row * rowBytes, (row + 1) * rowBytes), place * rowBytes))
  return { rows, input: { isRounded, numRows: rows.length, bytes } }
}

/** The reply holds, per touched shard ascending and row ascending, one partial row. */
function splitPartials(data: Uint8Array, { calls, hidden }: Work): Partial[] {
  const rowsOfShard = new Map<number, Set<number>>()
  for (const call of calls) {
    const rows = rowsOfShard.get(call.shard) ?? new Set()
    rowsOfShard.set(call.shard, rows)
    for (let i = 0; i < call.rows.length; i++) rows.add(call.rows[i]!)
  }
  const numRows = [...rowsOfShard.values()].reduce((sum, rows) => sum + rows.size, 0)
  if (data.byteLength !== numRows * hidden * 4) {
    throw new ClusterError('internal', `partials: want ${numRows} x ${hidden} floats, got ${data.byteLength} bytes`)
  }
  let offset = 0
  return [...rowsOfShard].map(([shard, rows]) => {
    const size = rows.size * hidden * 4
    const partial = { shard, rows: [...rows].sort((a, b) => a - b), data: data.subarray(offset, offset + size) }
    offset += size
    return partial
  })
}

/** Each row's partial sums, added by ascending shard, into delta. */
function combine({ kernels, hidden, delta }: ExpertOperands, numRows: number, partials: readonly Partial[]): void {
  const terms: number[][] = Array.from({ length: numRows }, () => [])
  const { scratch } = kernels
  scratch.reset()
  const x = scratch.take(partials.reduce((sum, { data }) => sum + data.byteLength, 0))
  let place = 0
  for (const { rows, data } of [...partials].sort((a, b) => a.shard - b.shard)) {
    kernels.bytes(x + place * hidden * 4, data.byteLength).set(data)
    for (const row of rows) terms[row]?.push(place++)
  }
  let end = 0
  const list = placeInts(kernels, scratch, terms.flat())
  const starts = placeInts(kernels, scratch, [0, ...terms.map(({ length }) => (end += length))])
  kernels.run([sumTasks({ x, xStride: hidden * 4, hidden, list, starts, numSums: numRows, y: delta }, kernels.threads)])
}
