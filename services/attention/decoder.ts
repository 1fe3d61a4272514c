// One step through the layers: embed → per layer (project, attend, output, experts) → the rows that are sampled.
// A prefill chunk is a chain, decoding a tree of one node, speculation a tree: one path for all three.

import type { Matrix } from '../../lib/compute/session.js'
import type { AttentionLayer, AttentionModel } from './attention-model.js'
import { dispatch, type DispatchContext } from './dispatch.js'
import { route } from './gate.js'
import { rowBlocks, type RowBlock, type SequenceState } from './sequence-state.js'

/** How long runs may follow one another before messages (cancels, pings) are answered. */
const MAX_BUSY_MS = 5

/** Rows of one sequence inside the step's batch. */
interface Span {
  readonly state: SequenceState
  readonly firstRow: number
  readonly blocks: readonly RowBlock[]
}

interface Batch {
  readonly spans: readonly Span[]
  readonly rows: number
  readonly rotation: Readonly<Record<'cos' | 'sin' | 'places', Matrix>>
}

/** Runs the tails of all sequences; returns the last hidden state [rows, hidden] before the final norm. */
export async function forward(
  model: AttentionModel,
  states: readonly SequenceState[],
  context: DispatchContext,
): Promise<Float32Array> {
  const batch = layOutBatch(model, states)
  const { hidden } = model.spec
  let x = model.embed(states.flatMap((state) => [...state.tail.tokens]))
  let delta: Float32Array | undefined
  let turned = performance.now()
  for (const [index, layer] of model.layers.entries()) {
    const dims = [batch.rows, hidden]
    const inputs = { x: { data: x, dims }, ...(delta && { delta: { data: delta, dims } }), ...batch.rotation }
    const { h = x, q, k, v } = layer.project.run(inputs)
    const attended = attendBatch(layer, index, batch, { q: need(q), k: need(k), v: need(v) })
    const after = layer.output.run({
      a: { data: attended, dims: [batch.rows, attended.length / batch.rows] },
      h_in: { data: h, dims },
    })
    x = need(after.h)
    const routes = route(layer.spec.ffn, batch.rows, after.gate)
    delta = await dispatch(context, index, need(after.n), routes)
    if (performance.now() - turned > MAX_BUSY_MS) {
      await turnOfTheLoop()
      turned = performance.now()
    }
  }
  return add(x, delta)
}

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const need = (value: Float32Array | undefined): Float32Array => value ?? new Float32Array(0)

function layOutBatch(model: AttentionModel, states: readonly SequenceState[]): Batch {
  const spans: Span[] = []
  let rows = 0
  for (const state of states) {
    const numRows = state.tail.tokens.length
    spans.push({ state, firstRow: rows, blocks: rowBlocks(state) })
    rows += numRows
  }
  const positions = states.flatMap((state) => [...state.tail.positions])
  const { cos, sin } = model.rope.rows(positions)
  const places = BigInt64Array.from(positions, (_, row) => BigInt(row))
  const dims = [rows, cos.length / rows]
  return {
    spans,
    rows,
    rotation: { cos: { data: cos, dims }, sin: { data: sin, dims }, places: { data: places, dims: [1, rows] } },
  }
}

function attendBatch(
  layer: AttentionLayer,
  index: number,
  batch: Batch,
  { q, k, v }: { q: Float32Array; k: Float32Array; v: Float32Array },
): Float32Array {
  const width = q.length / batch.rows
  const calls = batch.spans.flatMap(({ state, firstRow, blocks }) => {
    state.cache.write(index, state.tail.slots, { k, v, firstRow })
    return blocks.map(({ firstNode, rows, mask, numPages }) => {
      const from = firstRow + firstNode
      const pages = state.cache.layerPages(index, numPages)
      return { rows, mask, pages, q: q.subarray(from * width, (from + rows) * width) }
    })
  })
  return layer.core.attend(calls)
}

function add(x: Float32Array, delta: Float32Array | undefined): Float32Array {
  if (delta === undefined) return x
  const sum = new Float32Array(x.length)
  for (let i = 0; i < x.length; i++) sum[i] = x[i]! + delta[i]!
  return sum
}
