// Computes the experts of one layer for the rows of a step in one run, with the sums inside each shard.
//
// Invariants
//   X1  Pure: the answer is a function of the call and the weights; nothing is kept between calls.
//   X2  Inside a shard a row's terms are added in ascending expert id; the first term is stored, not added to zero.

import {
  floatInput,
  type ExpertCall,
  type ExpertInput,
  type LayerCall,
  type TouchedExpert,
} from '../../lib/compute/expert-call.js'
import { ClusterError } from '../../lib/errors.js'
import type { MessageOf } from '../../lib/wire/messages.js'
import { packF32, readF32, readI32, readQ16, type WireTensor } from '../../lib/wire/tensor.js'
import type { ExpertStore } from '../../lib/decode/expert-store.js'

/** Answers `expert.compute`: partials [rows of every touched shard, hidden]; shards ascending, rows ascending. */
export function answerCompute(
  store: ExpertStore,
  message: MessageOf<'expert.compute'>,
  onCalls: (calls: readonly ExpertCall[]) => void = () => undefined,
  keep: (partials: Float32Array) => Float32Array = (partials) => partials.slice(),
): WireTensor {
  const input = readInput(store, message.hidden)
  const calls = readCalls(store, message, input.numRows)
  onCalls(calls)
  const partials = keep(computeLayer(store, { layer: message.layer, input, calls }))
  return packF32(partials, [partials.length / store.hidden, store.hidden])
}

/** Copies into one array, which the next copy uses again. */
export function createReusedCopy(): (values: Float32Array) => Float32Array {
  let room = new Float32Array(0)
  return (values) => {
    if (values.length > room.length) room = new Float32Array(values.length)
    const copy = room.subarray(0, values.length)
    copy.set(values)
    return copy
  }
}

/**
 * Partials [rows of every touched shard, hidden], to be read before the engine's next run. Throws `failed_precondition`
 * where a shard is not loaded.
 */
export const computeLayer = (store: ExpertStore, call: LayerCall): Float32Array =>
  store.compute(call, shardSums(call.calls))

export const touchedBy = (calls: readonly ExpertCall[]): TouchedExpert[] =>
  calls.map(({ shard, expert, rows }) => ({ shard, expert, count: rows.length }))

/** Rows as this worker's products read them, or float32. */
function readInput(store: ExpertStore, hidden: WireTensor): ExpertInput {
  if (hidden.dtype === 'q16') {
    if (!store.readsRounded) throw new ClusterError('invalid_argument', 'hidden: want f32, the weights are f32 here')
    return { isRounded: true, numRows: hidden.shape[0] ?? 0, bytes: readQ16(hidden, 'hidden', store.hidden) }
  }
  return floatInput(readF32(hidden, 'hidden'), store.hidden)
}

/** The entries of each (shard, row): shards ascending, rows ascending, experts ascending (X2). */
function shardSums(calls: readonly ExpertCall[]): number[][] {
  const sums: number[][] = []
  let entry = 0
  for (let i = 0; i < calls.length;) {
    const { shard } = calls[i]!
    const entriesOf = new Map<number, number[]>() // row → entries
    for (; calls[i]?.shard === shard; i++) {
      for (const row of Array.from(calls[i]!.rows)) {
        const entries = entriesOf.get(row)
        if (entries === undefined) entriesOf.set(row, [entry++])
        else entries.push(entry++)
      }
    }
    sums.push(...[...entriesOf].sort(([a], [b]) => a - b).map(([, entries]) => entries))
  }
  return sums
}

/** Checks the message's lists against each other and the model; calls by ascending shard, then expert. */
function readCalls(store: ExpertStore, message: MessageOf<'expert.compute'>, numRows: number): ExpertCall[] {
  const experts = readI32(message.experts, 'experts')
  const counts = readI32(message.counts, 'counts')
  const rows = readI32(message.rows, 'rows')
  const weights = readF32(message.weights, 'weights')
  checkLists(store, { experts, counts, rows, weights, numRows })
  let offset = 0
  const calls = Array.from(experts, (expert, i) => {
    const from = offset
    offset += counts[i]!
    const shard = store.plan.shardOf(message.layer, expert)
    if (!store.plan.expertsOf(message.layer, shard).includes(expert)) {
      throw new ClusterError('invalid_argument', `layer ${message.layer} has no expert ${expert}`)
    }
    return { shard, expert, rows: rows.subarray(from, offset), weights: weights.subarray(from, offset) }
  })
  return calls.sort((a, b) => a.shard - b.shard || a.expert - b.expert)
}

interface Lists {
  readonly experts: Int32Array
  readonly counts: Int32Array
  readonly rows: Int32Array
  readonly weights: Float32Array
  readonly numRows: number
}

function checkLists(store: ExpertStore, { experts, counts, rows, weights, numRows }: Lists): void {
  const fail = (what: string): never => {
    throw new ClusterError('invalid_argument', what)
  }
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (!Number.isInteger(numRows)) fail(`hidden: want rows of ${store.hidden} values`)
  if (counts.length !== experts.length || rows.length !== total || weights.length !== total) {
    fail(
      `expert.compute: want one count per expert and ${total} rows and weights, got ${counts.length} counts for ${experts.length} experts, ${rows.length} rows, ${weights.length} weights`,
    )
  }
  if (new Set(experts).size !== experts.length) fail('experts: want each id once')
  if (counts.some((count) => count < 1)) fail('counts: want at least one row per expert')
  if (rows.some((row) => row < 0 || row >= numRows)) fail(`rows: want 0 … ${numRows - 1}`)
}
