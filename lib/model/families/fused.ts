// Experts whose matrices are published in one tensor for all of them: which rows of it are an expert's.

import type { LinearRef, TensorPart } from '../spec.js'

export interface FusedTensors {
  readonly weight: string
  readonly bias?: string
  readonly numExperts: number
  readonly isTransposed?: boolean // [experts, inputs, outputs] rather than [experts, outputs, inputs]
}

/** `rows` of an expert's `outputs`, from `first` on, each `step` of them. */
export interface FusedRows {
  readonly inputs: number
  readonly outputs: number
  readonly rows: number
  readonly first?: number
  readonly step?: number
}

/** The linear layer of an expert that some rows of its item are. */
export function fusedLinear(tensors: FusedTensors, item: number, wanted: FusedRows): LinearRef {
  const { weight, bias, numExperts, isTransposed = false } = tensors
  const { inputs, outputs, rows, first = 0, step = 1 } = wanted
  const rowOf = (row: number): number => first + row * step
  const part = (sizes: readonly number[]): TensorPart => ({
    stored: [numExperts, ...sizes],
    item,
    ...(rows < outputs && { rowOf }),
  })
  const matrix = isTransposed ? [inputs, outputs] : [outputs, inputs]
  return {
    weight: { name: weight, shape: [rows, inputs], part: { ...part(matrix), isTransposed } },
    ...(bias !== undefined && { bias: { name: bias, shape: [rows], part: part([outputs]) } }),
  }
}
