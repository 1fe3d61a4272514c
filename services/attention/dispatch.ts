// Dispatch and combine of one MoE layer: one frame per touched expert worker with the union of its rows, all sent
// before any reply is read; partial sums per shard are added in ascending shard order once all have arrived.
//
// Invariants
//   I1  The sum over a row's experts has one shape: inside a shard by ascending expert, then shards by ascending id.
//   I6  A shard without a live replica fails the step with an error that names layer and shard; nothing is skipped.

import { askWhileAlive } from '../../lib/actor/ask-while-alive.js'
import type { ExpertCall, ExpertInput } from '../../lib/compute/expert-call.js'
import { sumTasks } from '../../lib/compute/expert-layer.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import { placeInts } from '../../lib/compute/room.js'
import { ClusterError } from '../../lib/errors.js'
import { bytesOfF32, packF32, packI32, packQ16, q16RowBytes } from '../../lib/wire/tensor.js'
import type { ExpertOperands } from '../../lib/decode/experts-in-place.js'
import { liveReplica, type DispatchContext } from './dispatch-context.js'
import type { Routes } from '../../lib/decode/gate.js'
import { runNearby } from './nearby-experts.js'

/** Where the partial sums of a shard go. */
interface Place {
  readonly shard: number
  readonly rows: readonly number[] // ascending
  readonly address: number // float32 [rows, hidden] in the engine's memory
}

/** Rows through the layer's experts into delta. */
export async function dispatch(
  context: DispatchContext,
  layer: number,
  operands: ExpertOperands,
  routes: Routes,
): Promise<void> {
  if (runNearby(context, layer, operands, routes)) return
  const { kernels, hidden, isRounded } = operands
  const numRows = routes.experts.length / routes.width
  const calls = groupCalls(routes, numRows, (expert) => context.plan.shardOf(layer, expert))
  context.counters.distinctExperts += calls.length
  const partials = placePartials(kernels, calls, hidden * 4)
  try {
    const work = { kernels, hidden, isRounded, ...rowsOf(operands, numRows), calls, places: partials.places }
    await askWorkers(context, layer, work)
    combine(operands, numRows, partials)
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

interface Work {
  readonly kernels: Kernels
  readonly places: ReadonlyMap<number, Place>
  readonly x: Uint8Array // of all rows of the step
  readonly rowBytes: number
  readonly isRounded: boolean
  readonly hidden: number
  readonly calls: readonly ExpertCall[]
}

/** Resolves when every partial sum is in its place; then, or when it throws, nobody writes there any more. */
async function askWorkers(context: DispatchContext, layer: number, work: Work): Promise<void> {
  const byWorker = new Map<string, ExpertCall[]>()
  for (const call of work.calls) {
    const worker = chooseWorker(context, layer, call)
    byWorker.set(worker, [...(byWorker.get(worker) ?? []), call])
  }
  // A worker of this process computes when it is asked: the frames to the others are under way by then.
  const isNear = (worker: string): number => (context.neighbours.has(worker) ? 1 : 0)
  const inOrder = [...byWorker].sort(([a], [b]) => isNear(a) - isNear(b))
  const asked = inOrder.map(([worker, calls]) => askOrFailOver(context, layer, worker, { ...work, calls }))
  const outcomes = await Promise.allSettled(asked)
  const failure = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failure !== undefined) throw ClusterError.from(failure.reason)
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
async function askOrFailOver(context: DispatchContext, layer: number, worker: string, work: Work): Promise<void> {
  try {
    await askWorker(context, layer, worker, work)
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
    await askWorkers(context, layer, work)
  }
}

async function askWorker(context: DispatchContext, layer: number, worker: string, work: Work): Promise<void> {
  context.used.add(worker)
  const neighbour = context.neighbours.get(worker)
  if (neighbour !== undefined) {
    const { input, calls } = gatherRows(work, (numBytes) => new Uint8Array(numBytes))
    const { buffer, byteOffset, byteLength } = neighbour.compute({ layer, input, calls })
    return take(new Uint8Array(buffer, byteOffset, byteLength), work)
  }
  const { kernels } = work
  kernels.scratch.reset() // copied into the frame before anything else is computed
  const { input, calls } = gatherRows(work, (numBytes) => kernels.bytes(kernels.scratch.take(numBytes), numBytes))
  const body = {
    step: context.step,
    layer,
    hidden: work.isRounded
      ? packQ16(input.bytes, input.numRows, work.hidden)
      : packF32(floatsOf(input.bytes), [input.numRows, work.hidden]),
    experts: packI32(calls.map(({ expert }) => expert)),
    counts: packI32(calls.map((call) => call.rows.length)),
    rows: packI32(calls.flatMap((call) => call.rows)),
    weights: packF32(Float32Array.from(calls.flatMap(({ weights }) => Array.from(weights)))),
  }
  await askWhileAlive(
    context.system,
    worker,
    {
      kind: 'expert.compute',
      body,
      replyKind: 'expert.output',
      read: ({ partials }) => take(bytesOfF32(partials, 'partials'), work),
    },
    {
      timeoutMs: context.timeoutMs,
      signal: context.signal,
      ...(context.traceparent === undefined ? {} : { traceparent: context.traceparent }),
    },
  )
}

const floatsOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array =>
  new Float32Array(buffer, byteOffset, byteLength / 4)

/** The union of the rows that some call needs, ascending, and the calls with their places in it. */
function gatherRows({ x, rowBytes, isRounded, calls }: Work, makeRoom: (numBytes: number) => Uint8Array) {
  const rows = [...new Set(calls.flatMap((call) => Array.from(call.rows)))].sort((a, b) => a - b)
  const bytes = makeRoom(rows.length * rowBytes)
  const placeOf: number[] = []
  rows.forEach((row, place) => {
    placeOf[row] = place
    bytes.set(x.subarray(row * rowBytes, (row + 1) * rowBytes), place * rowBytes)
  })
  const input: ExpertInput = { isRounded, numRows: rows.length, bytes }
  return { input, calls: calls.map((call) => ({ ...call, rows: Array.from(call.rows, (row) => placeOf[row] ?? 0) })) }
}

/** The reply holds, per touched shard ascending and row ascending, one partial row. */
function take(data: Uint8Array, { kernels, places, calls, hidden }: Work): void {
  const shards = [...new Set(calls.map(({ shard }) => shard))].map((shard) => places.get(shard)!) // made from all calls
  const numRows = shards.reduce((sum, { rows }) => sum + rows.length, 0)
  if (data.byteLength !== numRows * hidden * 4) {
    throw new ClusterError('internal', `partials: want ${numRows} x ${hidden} floats, got ${data.byteLength} bytes`)
  }
  let offset = 0
  for (const { rows, address } of shards) {
    const size = rows.length * hidden * 4
    kernels.bytes(address, size).set(data.subarray(offset, offset + size))
    offset += size
  }
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
  kernels.run([sumTasks(sums, kernels.threads)])
}
