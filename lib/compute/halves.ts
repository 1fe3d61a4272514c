// Rows of weights as float16: the nearest one of every value, and an error where there is none.

import { ClusterError } from '../errors.js'
import { beyondFloat16, narrowTo } from '../model/dtypes.js'
import { partsOf, type LinearWeights } from './linear-weights.js'

/** Rows of a layer, from one of them on. */
export interface ReadRange {
  readonly first: number
  readonly rows: Float32Array
}

/** Rounds `values`, which are those rows in any order. Throws `invalid_argument` naming the tensor that float16 does not hold. */
export function roundToHalves(
  to: Uint16Array,
  values: Float32Array,
  layer: LinearWeights,
  { first, rows }: ReadRange,
): void {
  if (narrowTo(to, values)) return
  const at = beyondFloat16(rows)
  throw new ClusterError(
    'invalid_argument',
    `${tensorOf(layer, first + Math.floor(at / layer.inputs))}: want values that float16 holds (up to 65504), got ${rows[at]}; choose another --weights than f16`,
  )
}

/** What holds a row. */
function tensorOf({ tensor = 'a matrix', parts = [] }: LinearWeights, row: number): string {
  const [lies] = partsOf(parts, { first: row, count: 1 })
  return lies === undefined ? tensor : tensorOf(parts[lies.part]!, lies.first)
}
