// Weight matrices of a checkpoint in the form that the compute graphs take.

import type { LinearWeights, ReadRows } from '../compute/linear-weights.js'
import type { Checkpoint } from './checkpoint.js'
import type { LinearRef } from './spec.js'

/** A linear layer: weights [outputs, inputs], as float32 or as the file's blocks read when they are asked for; its bias. */
export function linearOf(checkpoint: Checkpoint, ref: LinearRef): LinearWeights {
  const [outputs = 0, inputs = 0] = ref.weight.shape
  const { isTransposed = false, blockBits } = checkpoint.tensors.get(ref.weight.name) ?? {}
  const areColumns = (ref.weight.part?.isTransposed ?? false) !== isTransposed
  return {
    get weights() {
      return checkpoint.tensor(ref.weight)
    },
    blockRows: (first, count) => checkpoint.blocks(ref.weight, first, count),
    blockBits,
    rows: areColumns
      ? heldRows(() => checkpoint.tensor(ref.weight), inputs, outputs)
      : (first, count, into) => checkpoint.rows(ref.weight, first, count, into),
    areColumns,
    inputs,
    outputs,
    bias: ref.bias && checkpoint.tensor(ref.bias),
  }
}

/** Rows of a whole that is read for the first of them and let go with the last. */
function heldRows(read: () => Float32Array, inputs: number, outputs: number): ReadRows {
  let whole: Float32Array | undefined
  return (first, count) => {
    whole ??= read()
    const rows = whole.subarray(first * inputs, (first + count) * inputs)
    if (first + count >= outputs) whole = undefined
    return rows
  }
}
