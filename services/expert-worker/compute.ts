// Computes one `expert.compute`: each expert on its rows, then the weighted sum inside each shard.
//
// Invariants
//   X1  Pure: the answer is a function of the message and the weights; nothing is kept between calls.
//   X2  Inside a shard a row's terms are added in ascending expert id; the first term is stored, not added to zero.

import { ClusterError } from '../../lib/errors.js'
import type { MessageOf } from '../../lib/wire/messages.js'
import { packF32, readF32, readI32, type WireTensor } from '../../lib/wire/tensor.js'
import type { ExpertStore } from './expert-store.js'

interface Call {
  readonly shard: number
  readonly expert: number
  readonly rows: Int32Array // ascending places in hidden
  readonly weights: Float32Array
}

/** Partials [rows of every touched shard, hidden]: shards ascending, rows ascending. Throws `cancelled` between experts. */
export async function computeExperts(
  store: ExpertStore,
  message: MessageOf<'expert.compute'>,
  isCancelled: () => boolean,
): Promise<WireTensor> {
  const hidden = readF32(message.hidden, 'hidden')
  const width = store.hidden
  const calls = readCalls(store, message, hidden.length / width)
  const sums = createShardSums(calls, width)
  for (const call of calls) {
    if (isCancelled()) throw new ClusterError('cancelled', `step ${message.step} was cancelled`)
    const x = gatherRows(hidden, call.rows, width)
    const { y } = await store
      .session(message.layer, call.expert)
      .run({ x: { data: x, dims: [call.rows.length, width] } })
    sums.add(call, y ?? new Float32Array(0))
  }
  return packF32(sums.data, [sums.data.length / width, width])
}

/** Checks the message's lists against each other and the model; calls by ascending shard, then expert. */
function readCalls(store: ExpertStore, message: MessageOf<'expert.compute'>, numRows: number): Call[] {
  const experts = readI32(message.experts, 'experts')
  const counts = readI32(message.counts, 'counts')
  const rows = readI32(message.rows, 'rows')
  const weights = readF32(message.weights, 'weights')
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (!Number.isInteger(numRows))
    throw new ClusterError('invalid_argument', `hidden: want rows of ${store.hidden} values`)
  if (counts.length !== experts.length || rows.length !== total || weights.length !== total) {
    throw new ClusterError(
      'invalid_argument',
      `expert.compute: want one count per expert and ${total} rows and weights, got ${counts.length} counts for ${experts.length} experts, ${rows.length} rows, ${weights.length} weights`,
    )
  }
  if (rows.some((row) => row < 0 || row >= numRows)) {
    throw new ClusterError('invalid_argument', `rows: want 0 … ${numRows - 1}`)
  }
  let offset = 0
  const calls = Array.from(experts, (expert, i) => {
    const from = offset
    offset += counts[i]!
    const shard = store.plan.shardOf(message.layer, expert)
    return { shard, expert, rows: rows.subarray(from, offset), weights: weights.subarray(from, offset) }
  })
  return calls.sort((a, b) => a.shard - b.shard || a.expert - b.expert)
}

function gatherRows(hidden: Float32Array, rows: Int32Array, width: number): Float32Array {
  const x = new Float32Array(rows.length * width)
  for (let i = 0; i < rows.length; i++) x.set(hidden.subarray(rows[i]! * width, (rows[i]! + 1) * width), i * width)
  return x
}

function createShardSums(calls: readonly Call[], width: number) {
  const places = new Map<number, Map<number, number>>() // shard → row → place in data
  let numPlaces = 0
  for (const shard of [...new Set(calls.map((call) => call.shard))]) {
    const rows = calls.filter((call) => call.shard === shard).flatMap((call) => [...call.rows])
    const ascending = [...new Set(rows)].sort((a, b) => a - b)
    places.set(shard, new Map(ascending.map((row) => [row, numPlaces++])))
  }
  const data = new Float32Array(numPlaces * width)
  const isStarted = new Uint8Array(numPlaces)
  const add = ({ shard, rows, weights }: Call, y: Float32Array): void => {
    for (let i = 0; i < rows.length; i++) {
      const place = places.get(shard)?.get(rows[i]!) ?? 0
      const weight = weights[i]!
      const from = i * width
      const to = place * width
      if (isStarted[place] === 0) for (let j = 0; j < width; j++) data[to + j] = weight * y[from + j]!
      else for (let j = 0; j < width; j++) data[to + j]! += weight * y[from + j]!
      isStarted[place] = 1
    }
  }
  return { data, add }
}
