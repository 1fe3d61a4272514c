// Computes the experts of one layer for the rows of a step: one run per unit of shards, then the sum inside each shard.
//
// Invariants
//   X1  Pure: the answer is a function of the call and the weights; nothing is kept between calls.
//   X2  Inside a shard a row's terms are added in ascending expert id; the first term is stored, not added to zero.

import type { ExpertCall, LayerCall } from '../../lib/compute/expert-call.js'
import { ClusterError } from '../../lib/errors.js'
import type { MessageOf } from '../../lib/wire/messages.js'
import { packF32, readF32, readI32, type WireTensor } from '../../lib/wire/tensor.js'
import type { ExpertStore, LoadedLayer } from './expert-store.js'

/** Answers `expert.compute`: partials [rows of every touched shard, hidden]; shards ascending, rows ascending. */
export function computeExperts(store: ExpertStore, message: MessageOf<'expert.compute'>): WireTensor {
  const hidden = readF32(message.hidden, 'hidden')
  const calls = readCalls(store, message, hidden.length / store.hidden)
  const partials = computeLayer(store, { layer: message.layer, hidden, calls })
  return packF32(partials, [partials.length / store.hidden, store.hidden])
}

/** Partials [rows of every touched shard, hidden]. Throws `failed_precondition` where a shard is not loaded. */
export function computeLayer(store: ExpertStore, { layer, hidden, calls }: LayerCall): Float32Array {
  const sums = createShardSums(calls, store.hidden)
  for (const [unit, mine] of byUnit(store, layer, calls)) {
    const terms = unit.compute({ x: hidden, ...listRows(unit, mine) })
    let offset = 0
    for (const call of mine) {
      const size = call.rows.length * store.hidden
      sums.add(call, terms.subarray(offset, offset + size))
      offset += size
    }
  }
  return sums.data
}

/** Calls per unit, in the order of the unit's experts. */
function byUnit(store: ExpertStore, layer: number, calls: readonly ExpertCall[]): Map<LoadedLayer, ExpertCall[]> {
  const groups = new Map<LoadedLayer, ExpertCall[]>()
  for (const call of calls) {
    const unit = store.layer(layer, call.shard)
    const group = groups.get(unit)
    if (group === undefined) groups.set(unit, [call])
    else group.push(call)
  }
  return groups
}

function listRows({ experts }: LoadedLayer, calls: readonly ExpertCall[]) {
  const numEntries = calls.reduce((sum, { rows }) => sum + rows.length, 0)
  const counts = new Int32Array(experts.length)
  const rows = new Int32Array(numEntries)
  const weights = new Float32Array(numEntries)
  let offset = 0
  for (const call of calls) {
    counts[experts.indexOf(call.expert)] = call.rows.length
    rows.set(call.rows, offset)
    weights.set(call.weights, offset)
    offset += call.rows.length
  }
  return { counts, rows, weights }
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

/** Where the partial row of each (shard, row) lies, and the sums. */
function createShardSums(calls: readonly ExpertCall[], width: number) {
  const places = new Map<number, Map<number, number>>() // shard → row → place in data
  let numPlaces = 0
  for (const shard of new Set(calls.map((call) => call.shard))) {
    const rows = new Set<number>()
    for (const call of calls)
      if (call.shard === shard) for (let i = 0; i < call.rows.length; i++) rows.add(call.rows[i]!)
    const ascending = [...rows].sort((a, b) => a - b)
    places.set(shard, new Map(ascending.map((row) => [row, numPlaces++])))
  }
  const data = new Float32Array(numPlaces * width)
  const isStarted = new Uint8Array(numPlaces)
  const add = ({ shard, rows }: ExpertCall, terms: Float32Array): void => {
    for (let i = 0; i < rows.length; i++) {
      const place = places.get(shard)?.get(rows[i]!) ?? 0
      const from = i * width
      const to = place * width
      if (isStarted[place] === 0) data.set(terms.subarray(from, from + width), to)
      else for (let j = 0; j < width; j++) data[to + j]! += terms[from + j]!
      isStarted[place] = 1
    }
  }
  return { data, add }
}
