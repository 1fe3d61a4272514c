// Weight matrices of a checkpoint in the form that the compute graphs take.

import type { LinearWeights, ReadRows } from '../compute/linear-weights.js'
import type { Checkpoint } from './checkpoint.js'
import type { LinearRef } from './spec.js'

/** A linear layer: weights [outputs, inputs], as float32 or as the file's blocks read when they are asked for; its bias. */
export function linearOf(checkpoint: Checkpoint, ref: LinearRef): LinearWeights {
  const [outputs = 0, inputs = 0] = ref.weight.shape
  const { isTransposed = false, blockBits, file } = checkpoint.tensors.get(ref.weight.name) ?? {}
  const areColumns = (ref.weight.part?.isTransposed ?? false) !== isTransposed
  return {
    get weights() {
      return checkpoint.tensor(ref.weight)
    },
    tensor: `${file}: tensor ${ref.weight.name}`,
    blockRows: (first, count) => checkpoint.blocks(ref.weight, first, count),
    blockBits,
    rows: areColumns
      ? heldRows((into) => checkpoint.rows(ref.weight, 0, outputs, into), inputs, outputs)
      : (first, count, into) => checkpoint.rows(ref.weight, first, count, into),
    areColumns,
    inputs,
    outputs,
    bias: ref.bias && checkpoint.tensor(ref.bias),
  }
}

/** A matrix that was let go: the next of its size is read to the same place, where nobody collected it meanwhile. */
let spare: WeakRef<Float32Array> | undefined

/** Rows of a whole that is read for the first of them and let go with the last. */
function heldRows(read: (into: Float32Array) => Float32Array, inputs: number, outputs: number): ReadRows {
  let whole: Float32Array | undefined
  const place = (): Float32Array => {
    const last = spare?.deref()
    spare = undefined
    return last?.length === inputs * outputs ? last : new Float32Array(inputs * outputs)
  }
  return (first, count) => {
    whole ??= read(place())
    const rows = whole.subarray(first * inputs, (first + count) * inputs)
    if (first + count < outputs) return rows
    spare = new WeakRef(whole)
    whole = undefined
    return rows
  }
}
