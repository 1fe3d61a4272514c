// Runs a layer over a text from its first token, in chunks, and reads what it leaves.

import { batchShape, layOutBatch } from '../../../lib/compute/attention-batch.js'
import type { AttentionLayer } from '../../../lib/compute/attention-layer.js'
import type { Kernels } from '../../../lib/compute/kernels.js'
import { PAGE_SLOTS, pageBytes, SLACK_BYTES, type KvGeometry } from '../../../lib/compute/kv-layout.js'
import type { KvFormat } from '../../../lib/model/kv-formats.js'
import { addNorm } from '../../../lib/compute/norm-tasks.js'
import { createRoom } from '../../../lib/compute/room.js'
import type { RopeTables } from '../../../lib/compute/rope-tables.js'

export interface LayerText {
  readonly kv: KvGeometry
  readonly format?: KvFormat // of the cache; f32, unless given
  readonly hidden: number
  readonly tables: RopeTables
  readonly x: Float32Array // [rows, hidden]
  readonly chunk: number // rows of a run
  /** What the experts gave, for `expertSums`. */
  readonly delta?: Float32Array
}

export interface LayerResult {
  readonly h: Float32Array // [rows, hidden]: with attention's residual
  readonly n: Float32Array // [rows, hidden]: normed for the experts
  readonly sums: Float32Array // [rows, hidden]: what the next residual adds
}

export function runLayer(kernels: Kernels, layer: AttentionLayer, text: LayerText): LayerResult {
  const { kv, format = 'f32', hidden, tables, x, chunk, delta = x } = text
  const rows = x.length / hidden
  const room = createRoom(kernels)
  const pages = Array.from({ length: Math.ceil(rows / PAGE_SLOTS) }, () => {
    const address = kernels.allocate(pageBytes([kv], format) + SLACK_BYTES)
    kernels.bytes(address, pageBytes([kv], format)).fill(0)
    return address
  })
  const result = { h: new Float32Array(x.length), n: new Float32Array(x.length), sums: new Float32Array(x.length) }
  for (let first = 0; first < rows; first += chunk) {
    const positions = Array.from({ length: Math.min(chunk, rows - first) }, (_, i) => first + i)
    const [from, to] = [first * hidden, (first + positions.length) * hidden]
    const batch = layOutBatch(kernels, room, batchShape([layer.needs], { hidden, expertBlocks: 0 }), {
      spans: [{ views: positions.map((position) => ({ prefix: position + 1, more: [] })), slots: positions, pages }],
      x: x.subarray(from, to),
      tables: [tables.rows(positions)],
    })
    layer.run(batch)
    result.h.set(kernels.floats(batch.h, to - from), from)
    result.n.set(kernels.floats(batch.n, to - from), from)
    kernels.floats(batch.delta, to - from).set(delta.subarray(from, to))
    const sums = layer.expertSums(batch)
    const { norm } = sums
    if (norm !== undefined) kernels.run(() => addNorm(kernels, norm))
    result.sums.set(kernels.floats(sums.delta, to - from), from)
  }
  pages.forEach((page) => kernels.release(page))
  room.dispose()
  return result
}
