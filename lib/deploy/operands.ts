// Bytes of a row between the products of a layer's attention on the CPU, as its layers cut them (`attention-layer.ts`,
// `latent-attention-layer.ts`).

import { workBytes } from '../compute/attention-batch.js'
import { valueStride } from '../compute/latent-weights.js'
import { roundedBytes } from '../compute/placed-linear.js'
import { roundedBlocks, TILE, tilesOf } from '../compute/tiles.js'
import type { AttentionSpec, WeightFormat } from '../model/spec.js'
import { attentionFormat } from '../model/weight-formats.js'

export function attentionRowBytes(attention: AttentionSpec, hidden: number, format: WeightFormat): number {
  const { numHeads } = attention
  const blocks = (inputs: number): number => roundedBlocks(inputs, attentionFormat(format))
  const output = (outputs: number): number => tilesOf(outputs) * TILE * 4
  if (attention.kind === 'grouped') {
    const { numKvHeads, headDim } = attention
    const width = numHeads * headDim
    const rounded = roundedBytes(Math.max(blocks(hidden), blocks(width)))
    return workBytes([output(width + 2 * numKvHeads * headDim), width * 4, rounded, output(hidden)])
  }
  const { q, latentDim, plainDim, rotatedDim, valueDim } = attention
  const queries = numHeads * (plainDim + rotatedDim)
  const rank = 'down' in q ? (q.down.weight.shape[0] ?? 0) : 0
  const value = valueStride(valueDim)
  const reads = [blocks(hidden), rank === 0 ? 0 : blocks(rank), blocks(numHeads * value)]
  return workBytes([
    output((rank === 0 ? queries : rank) + latentDim + rotatedDim),
    rank * 4,
    rank === 0 ? 0 : output(queries),
    numHeads * roundedBytes(blocks(plainDim)),
    numHeads * (rotatedDim * 4 + output(latentDim)), // queries in the space of latent vectors
    numHeads * latentDim * 4,
    numHeads * roundedBytes(blocks(latentDim)),
    numHeads * value * 4,
    roundedBytes(Math.max(...reads)),
    output(hidden),
  ])
}
