// Weight matrices of a checkpoint in the form that the compute graphs take.

import type { LinearWeights } from '../compute/linear-weights.js'
import type { Checkpoint } from './checkpoint.js'
import type { LinearRef } from './spec.js'

/** Reads a linear layer: weights [outputs, inputs] and its bias. */
export function linearOf(checkpoint: Checkpoint, ref: LinearRef): LinearWeights {
  const [outputs = 0, inputs = 0] = ref.weight.shape
  return {
    weights: checkpoint.tensor(ref.weight),
    inputs,
    outputs,
    bias: ref.bias && checkpoint.tensor(ref.bias),
  }
}
