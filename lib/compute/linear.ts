// A linear layer inside a graph: float32 `MatMul`, of weights in float16 widened there, or `MatMulNBits` over block-scaled
// integers. Which one is decided per matrix: a width that no block fits stays float32.

import type { WeightFormat } from '../model/spec.js'
import { integerFormat } from '../model/weight-formats.js'
import type { GraphBuilder } from './graph.js'
import { roundToHalves } from './halves.js'
import type { LinearWeights } from './linear-weights.js'
import { ELEMENT } from './onnx-schema.js'
import { BLOCK_SIZE, isQuantisable, quantise } from './quantise.js'
import { keptBlocks } from './quantised-linear.js'
import { floatWeight, weightOf, type WeightSet, type WeightTensor } from './weight-store.js'

/** Packs a layer as the weights `name.weights`, `name.scales` and `name.bias` that `linear` finds again. */
export function packLinear(name: string, layer: LinearWeights, format: WeightFormat): WeightSet {
  const stored = isQuantisable(layer.inputs) ? format : 'f32'
  const bias = layer.bias && { [`${name}.bias`]: floatWeight(layer.bias, [layer.outputs]) }
  return { ...packWeights(name, layer, stored), ...bias }
}

function packWeights(name: string, layer: LinearWeights, format: WeightFormat): WeightSet {
  const bits = integerFormat(format)?.bits
  if (bits !== undefined) return packBlocks(name, layer, bits)
  const { weights, inputs, outputs } = layer
  const dims = [inputs, outputs]
  if (format === 'f32') {
    const source = transpose(weights, new Float32Array(weights.length), inputs)
    return { [`${name}.weights`]: floatWeight(source, dims) }
  }
  const halves = new Uint16Array(weights.length)
  roundToHalves(halves, weights, layer, { first: 0, rows: weights })
  const source = transpose(halves, new Uint16Array(halves.length), inputs)
  return { [`${name}.weights`]: { element: 'float16', dims, source } }
}

function packBlocks(name: string, layer: LinearWeights, bits: 4 | 8): WeightSet {
  const { inputs, outputs } = layer
  const { data, scales } = keptBlocks(layer, bits) ?? quantise(layer.weights, bits)
  const numBlocks = inputs / BLOCK_SIZE
  return {
    [`${name}.weights`]: { element: 'uint8', dims: [outputs, numBlocks, (BLOCK_SIZE * bits) / 8], source: data },
    [`${name}.scales`]: floatWeight(scales, [outputs * numBlocks]),
  }
}

/** Appends x · Wᵀ + b for x [rows, inputs] and a layer packed by `packLinear`; returns the value [rows, outputs]. */
export function linear(graph: GraphBuilder, x: string, set: WeightSet, name: string): string {
  const product = productOf(graph, x, set, name)
  const bias = set[`${name}.bias`]
  return bias === undefined ? product : graph.node('Add', [product, graph.weight(bias)])
}

const FLOAT_ROWS = 1 // the accuracy level that reads rows in float32: a device rounds them to eight bits at level 4

function productOf(graph: GraphBuilder, x: string, set: WeightSet, name: string): string {
  const weights = weightOf(set, `${name}.weights`)
  if (weights.element === 'float') return graph.node('MatMul', [x, graph.weight(weights)])
  if (weights.element === 'float16') {
    const widened = graph.node('Cast', [graph.weight(weights)], { attributes: { to: ELEMENT.float } })
    return graph.node('MatMul', [x, widened])
  }
  const [outputs = 0, numBlocks = 0, blockBytes = 0] = weights.dims
  const scales = graph.weight(weightOf(set, `${name}.scales`))
  return graph.node('MatMulNBits', [x, graph.weight(weights), scales], {
    domain: 'com.microsoft',
    attributes: {
      K: numBlocks * BLOCK_SIZE,
      N: outputs,
      bits: (blockBytes * 8) / BLOCK_SIZE,
      block_size: BLOCK_SIZE,
      accuracy_level: FLOAT_ROWS,
    },
  })
}

function transpose<T extends Float32Array | Uint16Array>(matrix: T, result: T, columns: number): T {
  const rows = matrix.length / columns
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = matrix[row * columns + column]!
  }
  return result
}

/** Appends an RMS norm over the last axis (ONNX Runtime's fused operator: exact per row at every width). */
export function rmsNorm(graph: GraphBuilder, x: string, weight: WeightTensor, epsilon: number): string {
  return graph.node('SimplifiedLayerNormalization', [x, graph.weight(weight)], {
    attributes: { axis: -1, epsilon: { float: epsilon }, stash_type: 1 },
  })
}
