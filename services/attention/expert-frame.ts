// A layer's rows as one frame to one expert worker, and its answer into the places of the partial sums.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { beginAsk, type Asking } from '../../lib/actor/ask-while-alive.js'
import type { ExpertCall, ExpertInput, ExpertNeighbour } from '../../lib/compute/expert-call.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import { ClusterError } from '../../lib/errors.js'
import { bytesOfF32, packF32, packI32, packQ16 } from '../../lib/wire/tensor.js'
import type { Body } from '../../lib/wire/messages.js'
import type { DispatchContext } from './dispatch-context.js'

/** Where the partial sums of a shard go. */
export interface Place {
  readonly shard: number
  readonly rows: readonly number[] // ascending
  readonly address: number // float32 [rows, hidden] in the engine's memory
}

export interface Work {
  readonly kernels: Kernels
  readonly places: ReadonlyMap<number, Place>
  readonly x: Uint8Array // of all rows of the step
  readonly rowBytes: number
  readonly isRounded: boolean
  readonly hidden: number
  readonly calls: readonly ExpertCall[]
  readonly slowest: { computeMs: number } // of the workers whose answers were taken
}

const noteCompute = ({ slowest }: Work, computeMs: number): void => {
  slowest.computeMs = Math.max(slowest.computeMs, computeMs)
}

/** Computes the partial sums in a worker of this process. */
export function computeNear({ clock }: ActorSystem, neighbour: ExpertNeighbour, layer: number, work: Work): void {
  const startedMs = clock.monotonicMs()
  const { input, calls } = gatherRows(work, (numBytes) => new Uint8Array(numBytes))
  const { buffer, byteOffset, byteLength } = neighbour.compute({ layer, input, calls })
  take(new Uint8Array(buffer, byteOffset, byteLength), work)
  noteCompute(work, clock.monotonicMs() - startedMs)
}

/** Asks a worker for the partial sums; once abandoned it writes nothing. */
export function askWorker(context: DispatchContext, layer: number, worker: string, work: Work): Asking<void> {
  const { peers, system } = context
  const numRows = numRowsOf(work)
  const startedMs = system.clock.monotonicMs()
  const asking = beginAsk(
    system,
    worker,
    {
      kind: 'expert.compute',
      body: frameOf(context.step, layer, work),
      replyKind: 'expert.output',
      read: ({ partials, computeMs }) => {
        take(bytesOfF32(partials, 'partials'), work)
        noteCompute(work, computeMs)
      },
    },
    {
      timeoutMs: context.timeoutMs,
      overdueMs: peers.overdueMs(worker, numRows),
      signal: context.signal,
      traceparent: context.traceparent,
    },
  )
  const answer = asking.answer.then(
    () => peers.answered(worker, numRows, system.clock.monotonicMs() - startedMs),
    (error: unknown) => {
      const failure = ClusterError.from(error)
      if (failure.details.reason === 'SILENT') {
        peers.missed(worker, numRows, system.clock.monotonicMs() - startedMs)
      }
      throw failure
    },
  )
  return { answer, abandon: asking.abandon }
}

function frameOf(step: string, layer: number, work: Work): Body<'expert.compute'> {
  const { kernels } = work
  kernels.scratch.reset() // copied into the frame before anything else is computed
  const { input, calls } = gatherRows(work, (numBytes) => kernels.bytes(kernels.scratch.take(numBytes), numBytes))
  return {
    step,
    layer,
    hidden: work.isRounded
      ? packQ16(input.bytes, input.numRows, work.hidden)
      : packF32(floatsOf(input.bytes), [input.numRows, work.hidden]),
    experts: packI32(calls.map(({ expert }) => expert)),
    counts: packI32(calls.map((call) => call.rows.length)),
    rows: packI32(calls.flatMap((call) => call.rows)),
    weights: packF32(Float32Array.from(calls.flatMap(({ weights }) => Array.from(weights)))),
  }
}

/** Rows to compute, one for every expert that a row goes to. */
export const numRowsOf = ({ calls }: Work): number => calls.reduce((sum, { rows }) => sum + rows.length, 0)

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
