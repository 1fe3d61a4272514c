// The experts that the gates chose for every row of a step, where its router asked for them.

import type { Routes } from '../../lib/decode/gate.js'
import type { ModelSpec } from '../../lib/model/spec.js'
import { topKOf } from '../../lib/model/top-k.js'
import { packI32, type WireTensor } from '../../lib/wire/tensor.js'

const NO_GATE = -1

export interface StepRoutes {
  /** What a layer's gate chose for rows from `firstRow` on. */
  note(layer: number, firstRow: number, routes: Routes): void
  /** i32 [rows, layers, top-k]; -1 where a layer has no gate, or chooses fewer. */
  rows(first: number, count: number): WireTensor
}

export function createStepRoutes(spec: ModelSpec, numRows: number): StepRoutes {
  const numLayers = spec.layers.length
  const topK = topKOf(spec)
  const chosen = new Int32Array(numRows * numLayers * topK).fill(NO_GATE)
  return {
    note: (layer, firstRow, { experts, width }) => {
      const routed = spec.layers[layer]?.ffn.gate?.topK ?? 0 // the always-active expert comes after these
      for (let row = 0; row < experts.length / width; row++) {
        const target = ((firstRow + row) * numLayers + layer) * topK
        for (let k = 0; k < routed; k++) chosen[target + k] = experts[row * width + k]!
      }
    },
    rows: (first, count) => {
      const rowSize = numLayers * topK
      const values = chosen.subarray(first * rowSize, (first + count) * rowSize)
      return { ...packI32(values), shape: [count, numLayers, topK] }
    },
  }
}
