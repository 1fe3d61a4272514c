// One step through the layers: embed → per layer (attention, experts) → the rows that are sampled. A prefill chunk is a
// chain, decoding a tree of one node, speculation a tree: one path for all three.

import { layOutBatch } from '../../lib/compute/attention-batch.js'
import { geometryOf, type AttentionModel } from './attention-model.js'
import type { DispatchContext } from './dispatch-context.js'
import { dispatch } from './dispatch.js'
import { gateWidth, route } from './gate.js'
import { attentionSpans, type SequenceState } from './sequence-state.js'

/** How long runs may follow one another before messages (cancels, pings) are answered. */
const MAX_BUSY_MS = 5

/** Runs the tails of all sequences; returns the last hidden state [rows, hidden] before the final norm. */
export async function forward(
  model: AttentionModel,
  states: readonly SequenceState[],
  context: DispatchContext,
): Promise<Float32Array> {
  const { kernels, spec } = model
  const batch = layOut(model, states)
  const numValues = batch.rows * spec.hidden
  const operands = {
    kernels,
    hidden: spec.hidden,
    x: batch.forExperts === 0 ? batch.n : batch.forExperts,
    isRounded: batch.forExperts !== 0,
    delta: batch.delta,
  }
  let turned = performance.now()
  for (const [index, layer] of model.layers.entries()) {
    const { ffn } = spec.layers[index]!
    layer.run(batch, index > 0)
    const logits = kernels.floats(batch.gate, batch.rows * layer.gateStride)
    await dispatch(context, index, operands, route(ffn, batch.rows, logits, layer.gateStride))
    if (performance.now() - turned > MAX_BUSY_MS) {
      await turnOfTheLoop()
      turned = performance.now()
    }
  }
  const [h, delta] = [kernels.floats(batch.h, numValues), kernels.floats(batch.delta, numValues)]
  return h.map((value, i) => value + delta[i]!)
}

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function layOut(model: AttentionModel, states: readonly SequenceState[]) {
  const { spec } = model
  const shape = {
    ...geometryOf(spec),
    hidden: spec.hidden,
    expertBlocks: model.expertBlocks,
    gateWidth: spec.layers.reduce((widest, { ffn }) => Math.max(widest, gateWidth(ffn)), 0),
  }
  return layOutBatch(model.kernels, model.room, shape, {
    spans: states.flatMap(attentionSpans),
    x: model.embed(states.flatMap(({ tail }) => [...tail.tokens])),
    tables: model.rope.rows(states.flatMap(({ tail }) => [...tail.positions])),
  })
}
