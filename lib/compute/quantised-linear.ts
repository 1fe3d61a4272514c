// A whole layer's integers at once, for those who look at them or hand them to a device (`integer-rows.ts` decides).

import type { IntegerFormat } from '../model/weight-formats.js'
import { integerRows, keptRows } from './integer-rows.js'
import type { LinearWeights } from './linear-weights.js'
import type { QuantisedMatrix } from './quantise.js'
import type { ScaleNumbers } from './scale-numbers.js'
import { inOneGo } from './steps.js'

export interface QuantisedLinear extends QuantisedMatrix {
  readonly scaleNumbers: ScaleNumbers
}

/** The layer's integers; its inputs are whole blocks. */
export function quantiseLinear(layer: LinearWeights, format: IntegerFormat): QuantisedLinear {
  const { rows, scaleNumbers } = inOneGo(integerRows(layer, format))
  const integers = rows(0, layer.outputs)
  return { ...integers, data: integers.data.slice(), scales: integers.scales.slice(), scaleNumbers }
}

/** The layer as its file holds it; nothing where no part of it is blocks that fit. */
export const keptBlocks = (layer: LinearWeights, bits: 4 | 8): QuantisedMatrix | undefined =>
  keptRows(layer, bits)?.(0, layer.outputs)
