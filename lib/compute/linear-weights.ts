// Linear layers as they come from a checkpoint.

import type { StoredBlocks } from '../model/stored-tensor.js'
import { concat } from './concat.js'

/** Weights [outputs, inputs] row-major, bias [outputs]. Weights and blocks may be read anew at every access. */
export interface LinearWeights {
  readonly weights: Float32Array
  /** Rows first … first + count - 1 of the weights, where they can be had without all the others. */
  readonly rows?: ((first: number, count: number) => Float32Array) | undefined
  readonly inputs: number
  readonly outputs: number
  readonly bias?: Float32Array | undefined
  /** The same weights as the file's own integers, where it holds such. */
  readonly blocks?: StoredBlocks | undefined
  /** Their bits, where that is known before they are read. */
  readonly blockBits?: 4 | 8 | undefined
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
      return wholeOf(layers, inputs) // only who needs it makes it
    },
    rows: stackedRows(layers),
    inputs,
    outputs,
    bias: hasBias ? concat(biases) : undefined,
    parts: layers,
  }
}

const PIECE_VALUES = 256 * 1024

/** All values, read piece by piece where that can be: no layer is in memory beside them. */
function wholeOf(layers: readonly LinearWeights[], inputs: number): Float32Array {
  const whole = new Float32Array(layers.reduce((sum, { outputs }) => sum + outputs, 0) * inputs)
  let start = 0
  for (const layer of layers) {
    const { rows, outputs } = layer
    const most = rows === undefined ? outputs : Math.max(1, Math.floor(PIECE_VALUES / inputs))
    for (let first = 0; first < outputs; first += most) {
      const count = Math.min(most, outputs - first)
      whole.set(rows === undefined ? layer.weights : rows(first, count), (start + first) * inputs)
    }
    start += outputs
  }
  return whole
}

/** Rows of one layer after the other's, where each can give some of its own. */
function stackedRows(layers: readonly LinearWeights[]): LinearWeights['rows'] {
  const sources = layers.map(({ rows, outputs }) => ({ rows, outputs }))
  if (sources.some(({ rows }) => rows === undefined)) return undefined
  return (first, count) => {
    const found: Float32Array[] = []
    let start = 0
    for (const { rows, outputs } of sources) {
      const [from, to] = [Math.max(first, start), Math.min(first + count, start + outputs)]
      if (from < to && rows !== undefined) found.push(rows(from - start, to - from))
      start += outputs
    }
    return found.length === 1 && found[0] !== undefined ? found[0] : concat(found)
  }
}
