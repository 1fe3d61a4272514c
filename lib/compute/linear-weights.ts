// Linear layers as they come from a checkpoint.

import type { StoredBlocks } from '../model/stored-tensor.js'
import { floatsAt, PIECE_VALUES, roomFor } from '../packing/packing-memory.js'
import { concat } from './concat.js'

/** Rows first … first + count - 1; written to `into` where it is given, which is then what is returned. */
export type ReadRows = (first: number, count: number, into?: Float32Array) => Float32Array

/** Weights [outputs, inputs] row-major, bias [outputs]. Weights and blocks may be read anew at every access. */
export interface LinearWeights {
  readonly weights: Float32Array
  /** What errors call it: its file and tensor. */
  readonly tensor?: string | undefined
  /** Some of the rows, where they can be had without all the others. */
  readonly rows?: ReadRows | undefined
  /** They are columns of the file: all of it is read for them, and kept until the last of them was. */
  readonly areColumns?: boolean
  readonly inputs: number
  readonly outputs: number
  readonly bias?: Float32Array | undefined
  /** The same weights as the file's own integers, where it holds such. */
  readonly blocks?: StoredBlocks | undefined
  /** Some rows of them. */
  readonly blockRows?: ((first: number, count: number) => StoredBlocks | undefined) | undefined
  /** Their bits, where that is known before they are read. */
  readonly blockBits?: 4 | 8 | undefined
  /** Of stacked layers: what they were. */
  readonly parts?: readonly LinearWeights[]
}

/** Outputs that are computed together: rows are read so many at a time, or more. */
export const TILE = 16

/** Rows first … first + count - 1. */
export interface RowRange {
  readonly first: number
  readonly count: number
}

/** All rows, as many at a time as are read at a time: whole tiles. */
export function* pieces({ inputs, outputs }: Pick<LinearWeights, 'inputs' | 'outputs'>): Generator<RowRange> {
  const most = Math.max(TILE, Math.floor(PIECE_VALUES / inputs / TILE) * TILE)
  for (let first = 0; first < outputs; first += most) yield { first, count: Math.min(most, outputs - first) }
}

/** Where rows of stacked layers lie: in which of the layers, and there from which row on. */
export function* partsOf(layers: readonly Pick<LinearWeights, 'outputs'>[], { first, count }: RowRange) {
  let start = 0
  for (const [part, { outputs }] of layers.entries()) {
    const [from, to] = [Math.max(first, start), Math.min(first + count, start + outputs)]
    if (from < to) yield { part, first: from - start, count: to - from }
    start += outputs
  }
}

/** Room for a piece: it is what the last caller made of it until somebody else asks, which nobody does meanwhile. */
export const scratchFor = (numValues: number): Float32Array => floatsAt(roomFor('rows', numValues * 4), numValues)

/** How rows of the layer are read, whether or not all are read for them. */
export function rowsOf(layer: LinearWeights): ReadRows {
  if (layer.rows !== undefined) return layer.rows
  const { weights, inputs } = layer
  return (first, count) => weights.subarray(first * inputs, (first + count) * inputs)
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
    rows: stackedRows(layers, inputs),
    areColumns: layers.some(({ areColumns }) => areColumns === true),
    inputs,
    outputs,
    bias: hasBias ? concat(biases) : undefined,
    parts: layers,
  }
}

/** All values, read piece by piece: no layer is in memory beside them. */
function wholeOf(layers: readonly LinearWeights[], inputs: number): Float32Array {
  const outputs = layers.reduce((sum, layer) => sum + layer.outputs, 0)
  const whole = new Float32Array(outputs * inputs)
  const read = stackedRows(layers, inputs)
  for (const { first, count } of pieces({ inputs, outputs }))
    read(first, count, whole.subarray(first * inputs, (first + count) * inputs))
  return whole
}

/** Rows of one layer after the other's. */
function stackedRows(layers: readonly LinearWeights[], inputs: number): ReadRows {
  return (first, count, into = new Float32Array(count * inputs)) => {
    let at = 0
    for (const { part, ...rows } of partsOf(layers, { first, count })) {
      const target = into.subarray(at, at + rows.count * inputs)
      at += target.length
      const found = rowsOf(layers[part]!)(rows.first, rows.count, target)
      if (found.buffer !== into.buffer) target.set(found)
    }
    return into
  }
}
