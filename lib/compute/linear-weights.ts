// Linear layers as they come from a checkpoint.

import type { StoredBlocks } from '../model/stored-tensor.js'
import { concat } from './concat.js'

/** Weights [outputs, inputs] row-major, bias [outputs]. Weights and blocks may be read anew at every access. */
export interface LinearWeights {
  readonly weights: Float32Array
  readonly inputs: number
  readonly outputs: number
  readonly bias?: Float32Array | undefined
  /** The same weights as the file's own integers, where it holds such. */
  readonly blocks?: StoredBlocks | undefined
  /** Of stacked layers: what they were. */
  readonly parts?: readonly LinearWeights[]
}

/** Linear layers over the same input as one: outputs are concatenated in order. */
export function stack(layers: readonly LinearWeights[]): LinearWeights {
  const outputs = layers.reduce((sum, layer) => sum + layer.outputs, 0)
  const inputs = layers[0]?.inputs ?? 0
  const hasBias = layers.some((layer) => layer.bias !== undefined)
  const biases = layers.map((layer) => layer.bias ?? new Float32Array(layer.outputs))
  return {
    get weights() {
      return concat(layers.map((layer) => layer.weights)) // a second copy: only who needs it makes it
    },
    inputs,
    outputs,
    bias: hasBias ? concat(biases) : undefined,
    parts: layers,
  }
}
