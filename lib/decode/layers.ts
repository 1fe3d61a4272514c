// What a step's rows go through on the side of attention: laid out once, then layer by layer. A prefill chunk is a chain,
// decoding a tree of one node, speculation a tree: one path for all three.

import { layOutBatch, type AttentionBatch, type AttentionSpan, type BatchRows } from '../compute/attention-batch.js'
import type { Room } from '../compute/room.js'
import { geometryOf, type AttentionModel } from './attention-model.js'
import type { ExpertOperands } from './experts-in-place.js'
import { gateWidth, route, type Routes } from './gate.js'

/** A step's rows, span after span; tokens and positions are of all rows in order. */
export function batchRows(
  model: AttentionModel,
  spans: readonly AttentionSpan[],
  tokens: readonly number[],
  positions: readonly number[],
): BatchRows {
  return { spans, x: model.embed(tokens), tables: model.rope.rows(positions) }
}

export function layOut(model: AttentionModel, room: Room, rows: BatchRows): AttentionBatch {
  const { spec } = model
  const shape = {
    ...geometryOf(spec),
    hidden: spec.hidden,
    expertBlocks: model.expertBlocks,
    gateWidth: spec.layers.reduce((widest, { ffn }) => Math.max(widest, gateWidth(ffn)), 0),
  }
  return layOutBatch(model.kernels, room, shape, rows)
}

/** Attention and gate of a layer; what its experts are to compute. */
export function runAttention(
  { kernels, spec, layers }: AttentionModel,
  index: number,
  batch: AttentionBatch,
): { readonly operands: ExpertOperands; readonly routes: Routes } {
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
  return { operands, routes: route(spec.layers[index]!.ffn, batch.rows, logits, layer.gateStride) }
}

/** The last hidden state of the rows before the final norm: [rows, hidden]. */
export function lastHidden({ kernels, spec }: AttentionModel, batch: AttentionBatch): Float32Array {
  const numValues = batch.rows * spec.hidden
  const [h, delta] = [kernels.floats(batch.h, numValues), kernels.floats(batch.delta, numValues)]
  return h.map((value, i) => value + delta[i]!)
}
