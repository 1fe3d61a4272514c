// A product through the engine, for tests: made-up weights, any shape.

import type { Kernels } from '../../../lib/compute/kernels.js'
import { linearTasks, placeLinear, roundingTasks } from '../../../lib/compute/placed-linear.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { packTiles } from '../../../lib/compute/tiles.js'
import type { WeightFormat } from '../../../lib/model/spec.js'

export interface Product {
  readonly format: WeightFormat
  readonly inputs: number
  readonly outputs: number
  readonly pieces?: number
  readonly hasBias?: boolean
}

export const weightsOf = ({ inputs, outputs }: Product): Float32Array => probeValues(inputs * outputs, 3)
export const biasOf = ({ outputs }: Product): Float32Array => probeValues(outputs, 8)

/** x · Wᵀ + b for x [rows, inputs], through the engine: [rows, outputs]. */
export function product(kernels: Kernels, shape: Product, x: Float32Array): Float32Array {
  const { format, inputs, outputs, pieces = 3, hasBias = false } = shape
  const rows = x.length / inputs
  const bias = hasBias ? biasOf(shape) : undefined
  const set = packTiles('w', { weights: weightsOf(shape), inputs, outputs, bias }, format)
  const linear = placeLinear(kernels, set, 'w')
  const { scratch } = kernels
  scratch.reset()
  const floats = scratch.take(x.byteLength)
  const rounded = scratch.take(rows * linear.rowBytes)
  const rowList = scratch.take(rows * 4)
  const y = scratch.take(rows * linear.outputBytes)
  kernels.floats(floats, x.length).set(x)
  kernels.ints(rowList, rows).set(Array.from({ length: rows }, (_, row) => row))
  kernels.run([
    linear.blocks > 0 ? roundingTasks(linear, { x: floats, stride: inputs * 4, rows, y: rounded }, pieces) : [],
    linearTasks(linear, { x: linear.blocks > 0 ? rounded : floats, rowList, rows, y }, pieces),
  ])
  const result = new Float32Array(rows * outputs)
  for (let row = 0; row < rows; row++) {
    result.set(kernels.floats(y + row * linear.outputBytes, outputs), row * outputs)
  }
  linear.dispose()
  return result
}
