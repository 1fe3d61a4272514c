// Which integers a linear layer becomes.
//
// Invariants
//   QL1  Blocks that the checkpoint holds are taken as they are, where the format has room for their bits and two bytes
//        for their scales: what is multiplied with is what the file says. Else the layer is quantised from its values.
//   QL2  The choice is a function of the layer's values and the format alone.

import type { IntegerFormat } from '../model/weight-formats.js'
import type { StoredBlocks } from '../model/stored-tensor.js'
import { chooseBlocksPerScale } from './adaptive-blocks.js'
import { concat } from './concat.js'
import type { LinearWeights } from './linear-weights.js'
import { BLOCK_SIZE, levelAt, quantise, type QuantisedMatrix } from './quantise.js'
import { scaleNumbers, type ScaleNumbers } from './scale-numbers.js'

export interface QuantisedLinear extends QuantisedMatrix {
  readonly scaleNumbers: ScaleNumbers
}

/** The layer's integers; its inputs are whole blocks. */
export const quantiseLinear = (layer: LinearWeights, format: IntegerFormat): QuantisedLinear =>
  keptLinear(layer, format.bits) ?? quantiseValues(layer, format)

/** The integers that the file holds; nothing where it holds none that fit. */
export function keptLinear(layer: LinearWeights, bits: 4 | 8): QuantisedLinear | undefined {
  const kept = keptBlocks(layer, bits)
  const numbers = kept && scaleNumbers(kept.scales)
  return kept && numbers && { ...kept, scaleNumbers: numbers }
}

/** Integers of the layer's values. */
export function quantiseValues(layer: LinearWeights, { bits, isAdaptive }: IntegerFormat): QuantisedLinear {
  const { weights } = layer
  const blocks = layer.inputs / BLOCK_SIZE
  const blocksPerScale = isAdaptive ? chooseBlocksPerScale(weights, bits, blocks) : 1
  const integers = quantise(weights, bits, { blocks, blocksPerScale })
  return { ...integers, scaleNumbers: 'bfloat16' }
}

/** The layer as its file holds it, beside parts that are no blocks there; nothing where none is one that fits. */
export function keptBlocks(layer: LinearWeights, bits: 4 | 8): QuantisedMatrix | undefined {
  const parts = layer.parts ?? [layer]
  const blocks = parts.map((part) => ((part.blockBits ?? bits) <= bits ? part.blocks : undefined))
  const fits = (stored?: StoredBlocks): stored is StoredBlocks => stored !== undefined && stored.bits <= bits
  if (!blocks.some(fits)) return undefined
  const integers = parts.map((part, i) => {
    const stored = blocks[i]
    return fits(stored) ? widened(stored, bits) : quantise(part.weights, bits)
  })
  const data = Buffer.concat(integers.map((part) => part.data))
  return { bits, data, scales: concat(integers.map((part) => part.scales)), blocksPerScale: 1 }
}

function widened(blocks: StoredBlocks, bits: 4 | 8): Pick<QuantisedMatrix, 'data' | 'scales'> {
  if (blocks.bits === bits) return blocks
  const data = Uint8Array.from({ length: blocks.data.length * 2 }, (_, i) => levelAt(blocks, i) + 128)
  return { data, scales: blocks.scales }
}
