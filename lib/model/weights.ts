// Weight matrices of a checkpoint in the form that the compute graphs take.

import type { LinearWeights } from '../compute/linear-weights.js'
import type { Checkpoint } from './checkpoint.js'
import type { LinearRef } from './spec.js'

/** A linear layer: weights [outputs, inputs], as float32 or as the file's blocks read when they are asked for; its bias. */
export function linearOf(checkpoint: Checkpoint, ref: LinearRef): LinearWeights {
  const [outputs = 0, inputs = 0] = ref.weight.shape
  return {
    get weights() {
      return checkpoint.tensor(ref.weight)
    },
    get blocks() {
      return checkpoint.blocks(ref.weight)
    },
    inputs,
    outputs,
    bias: ref.bias && checkpoint.tensor(ref.bias),
  }
}
