// What a step's rows go through on the side of attention: laid out once, then layer by layer. A prefill chunk is a chain,
// decoding a tree of one node, speculation a tree: one path for all three.

import { layOutBatch, type AttentionBatch, type AttentionSpan, type BatchRows } from '../compute/attention-batch.js'
import { addNorm } from '../compute/norm-tasks.js'
import type { Room } from '../compute/room.js'
import { sumOf } from '../compute/sum-of.js'
import type { AttentionModel } from './attention-model.js'
import type { ExpertOperands } from './experts-in-place.js'
import { route, type Routes } from './gate.js'

/** A step's rows, span after span; tokens and positions are of all rows in order. */
export function batchRows(
  model: AttentionModel,
  spans: readonly AttentionSpan[],
  tokens: readonly number[],
  positions: readonly number[],
): BatchRows {
  return { spans, x: model.embed(tokens), tables: model.rotations.map((tables) => tables.rows(positions)) }
}

export const layOut = ({ kernels, shape }: AttentionModel, room: Room, rows: BatchRows): AttentionBatch =>
  layOutBatch(kernels, room, shape, rows)

/** Attention and gate of a layer; what its experts are to compute. */
export function runAttention(
  { kernels, spec, layers, corrections }: AttentionModel,
  index: number,
  batch: AttentionBatch,
): { readonly operands: ExpertOperands; readonly routes: Routes } {
  const layer = layers[index]!
  const { gateStride } = layer.needs
  layer.run(batch, layers[index - 1]?.expertSums(batch))
  const logits = kernels.floats(batch.gate, batch.rows * gateStride)
  const isRounded = batch.forExperts !== 0
  const operands = {
    kernels,
    hidden: spec.hidden,
    x: isRounded ? batch.forExperts : batch.n,
    isRounded,
    delta: batch.delta,
  }
  return {
    operands,
    routes: route(spec.layers[index]!.ffn, batch.rows, logits, {
      stride: gateStride,
      correction: corrections[index],
    }),
  }
}

/** The last hidden state of the rows before the final norm: [rows, hidden]. */
export function lastHidden({ kernels, spec, layers }: AttentionModel, batch: AttentionBatch): Float32Array {
  const numValues = batch.rows * spec.hidden
  const { norm, delta: sums } = layers.at(-1)?.expertSums(batch) ?? { delta: batch.delta }
  if (norm !== undefined) kernels.run(() => addNorm(kernels, norm))
  return sumOf(kernels.floats(batch.h, numValues), kernels.floats(sums, numValues))
}
