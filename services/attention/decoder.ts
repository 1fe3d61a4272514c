// One step through the layers: embed → per layer (attention, experts) → the rows that are sampled. A prefill chunk is a
// chain, decoding a tree of one node, speculation a tree: one path for all three.
//
// Rows may go in two micro-batches that take turns: while experts elsewhere compute one, attention computes the other.
// That pays where experts have cores of their own; on shared ones it only reads their weights twice (bench/ablations).
// A layer's attention always runs for the first before the second, so a sequence may lie in both.

import { layOutBatch, splitRows, type AttentionBatch, type BatchRows } from '../../lib/compute/attention-batch.js'
import { concat } from '../../lib/compute/concat.js'
import { geometryOf, type AttentionModel } from './attention-model.js'
import type { DispatchContext } from './dispatch-context.js'
import { dispatch } from './dispatch.js'
import { gateWidth, route } from './gate.js'
import { attentionSpan, type SequenceState } from './sequence-state.js'

/** How long runs may follow one another before messages (cancels, pings) are answered. */
const MAX_BUSY_MS = 5
/** Runs the tails of all sequences; returns the last hidden state [rows, hidden] before the final norm. */
export async function forward(
  model: AttentionModel,
  states: readonly SequenceState[],
  context: DispatchContext,
): Promise<Float32Array> {
  const rows = rowsOf(model, states)
  const batches = splitRows(rows, context.microBatches).map((part, i) => layOut(model, i, part))
  const experts = batches.map(() => Promise.resolve())
  let turned = performance.now()
  try {
    for (const index of model.layers.keys()) {
      for (const [i, batch] of batches.entries()) {
        await experts[i]
        experts[i] = runLayer(model, index, batch, context)
        experts[i].catch(() => undefined) // awaited in its turn
      }
      if (performance.now() - turned > MAX_BUSY_MS) {
        await turnOfTheLoop()
        turned = performance.now()
      }
    }
    await Promise.all(experts)
  } finally {
    await Promise.allSettled(experts) // nothing of a failed step runs on
  }
  return concat(batches.map((batch) => lastHidden(model, batch)))
}

/** Attention of a layer at once, its experts by the time the promise is kept. */
function runLayer(
  { kernels, spec, layers }: AttentionModel,
  index: number,
  batch: AttentionBatch,
  context: DispatchContext,
): Promise<void> {
  const layer = layers[index]!
  layer.run(batch, index > 0)
  const logits = kernels.floats(batch.gate, batch.rows * layer.gateStride)
  const isRounded = batch.forExperts !== 0
  const operands = {
    kernels,
    hidden: spec.hidden,
    x: isRounded ? batch.forExperts : batch.n,
    isRounded,
    delta: batch.delta,
  }
  return dispatch(context, index, operands, route(spec.layers[index]!.ffn, batch.rows, logits, layer.gateStride))
}

function lastHidden({ kernels, spec }: AttentionModel, batch: AttentionBatch): Float32Array {
  const numValues = batch.rows * spec.hidden
  const [h, delta] = [kernels.floats(batch.h, numValues), kernels.floats(batch.delta, numValues)]
  return h.map((value, i) => value + delta[i]!)
}

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const rowsOf = (model: AttentionModel, states: readonly SequenceState[]): BatchRows => ({
  spans: states.map(attentionSpan),
  x: model.embed(states.flatMap(({ tail }) => [...tail.tokens])),
  tables: model.rope.rows(states.flatMap(({ tail }) => [...tail.positions])),
})

function layOut(model: AttentionModel, microBatch: number, rows: BatchRows): AttentionBatch {
  const { spec } = model
  const shape = {
    ...geometryOf(spec),
    hidden: spec.hidden,
    expertBlocks: model.expertBlocks,
    gateWidth: spec.layers.reduce((widest, { ffn }) => Math.max(widest, gateWidth(ffn)), 0),
  }
  return layOutBatch(model.kernels, model.rooms[microBatch]!, shape, rows)
}
