// A linear layer inside a graph: float32 `MatMul`, or `MatMulNBits` over block-scaled integers. Which one is decided
// per matrix: a width that no block fits stays float32.

import type { WeightFormat } from '../model/spec.js'
import type { GraphBuilder } from './graph.js'
import { BLOCK_SIZE, isQuantisable, quantise } from './quantise.js'

/** Weights [outputs, inputs] row-major, bias [outputs]. */
export interface LinearWeights {
  readonly weights: Float32Array
  readonly inputs: number
  readonly outputs: number
  readonly bias?: Float32Array | undefined
}

/** Appends x · Wᵀ + b for x [rows, inputs]; returns the value [rows, outputs]. */
export function linear(graph: GraphBuilder, x: string, layer: LinearWeights, format: WeightFormat): string {
  const useFloat = format === 'f32' || !isQuantisable(layer.inputs)
  const product = useFloat ? floatProduct(graph, x, layer) : blockProduct(graph, x, layer, format === 'int8' ? 8 : 4)
  if (layer.bias === undefined) return product
  return graph.node('Add', [product, graph.constant(layer.bias, [layer.outputs])])
}

function floatProduct(graph: GraphBuilder, x: string, { weights, inputs, outputs }: LinearWeights): string {
  return graph.node('MatMul', [x, graph.constant(transpose(weights, outputs, inputs), [inputs, outputs])])
}

function blockProduct(graph: GraphBuilder, x: string, layer: LinearWeights, bits: 4 | 8): string {
  const { data, scales } = quantise(layer.weights, bits)
  const numBlocks = layer.inputs / BLOCK_SIZE
  const packed = graph.constantUint8(data, [layer.outputs, numBlocks, (BLOCK_SIZE * bits) / 8])
  const scale = graph.constant(scales, [layer.outputs * numBlocks])
  return graph.node('MatMulNBits', [x, packed, scale], {
    domain: 'com.microsoft',
    attributes: { K: layer.inputs, N: layer.outputs, bits, block_size: BLOCK_SIZE, accuracy_level: 4 },
  })
}

function transpose(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = matrix[row * columns + column]!
  }
  return result
}

/** Linear layers over the same input as one: outputs are concatenated in order. */
export function stack(layers: readonly LinearWeights[]): LinearWeights {
  const outputs = layers.reduce((sum, layer) => sum + layer.outputs, 0)
  const inputs = layers[0]?.inputs ?? 0
  const hasBias = layers.some((layer) => layer.bias !== undefined)
  const biases = layers.map((layer) => layer.bias ?? new Float32Array(layer.outputs))
  return {
    weights: concat(layers.map((layer) => layer.weights)),
    inputs,
    outputs,
    bias: hasBias ? concat(biases) : undefined,
  }
}

function concat(parts: readonly Float32Array[]): Float32Array {
  const result = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    result.set(part, offset)
    offset += part.length
  }
  return result
}

/** Appends an RMS norm over the last axis (ONNX Runtime's fused operator: exact per row at every width). */
export function rmsNorm(graph: GraphBuilder, x: string, weight: Float32Array, epsilon: number): string {
  return graph.node('SimplifiedLayerNormalization', [x, graph.constant(weight, [weight.length])], {
    attributes: { axis: -1, epsilon: { float: epsilon }, stash_type: 1 },
  })
}
