// Weight matrices of a checkpoint in the form that the compute graphs take.

import type { LinearWeights } from '../compute/linear-weights.js'
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
    get blocks() {
      return checkpoint.blocks(ref.weight)
    },
    blockBits,
    // Rows that are columns of the file would each take all of it.
    rows: areColumns ? undefined : (first, count) => checkpoint.rows(ref.weight, first, count),
    inputs,
    outputs,
    bias: ref.bias && checkpoint.tensor(ref.bias),
  }
}
