// A linear layer over rows that come from and go to JavaScript: what draft heads are made of.

import type { WeightFormat } from '../model/spec.js'
import { attentionFormat } from '../model/weight-formats.js'
import type { Kernels } from './kernels.js'
import type { LinearWeights } from './linear-weights.js'
import { addProduct, addRounding, placeLinear } from './placed-linear.js'
import { placeFloats, placeInts } from './room.js'
import { packTiles } from './tiles.js'
import { inOneGo } from './steps.js'

export interface LinearMap {
  readonly outputs: number
  /** x [rows, inputs] to one array [outputs] per row, to be read before the engine's next run. */
  run(x: Float32Array): readonly Float32Array[]
  dispose(): void
}

/** Packs a layer and places it in the engine's memory. */
export function createLinearMap(kernels: Kernels, layer: LinearWeights, format: WeightFormat): LinearMap {
  const linear = placeLinear(kernels, inOneGo(packTiles('map', layer, attentionFormat(format))), 'map')
  const { inputs, outputs } = layer
  return {
    outputs,
    run: (values) => {
      const { scratch } = kernels
      scratch.reset()
      const rows = values.length / inputs
      const x = placeFloats(kernels, scratch, values)
      const rowList = placeInts(
        kernels,
        scratch,
        Array.from({ length: rows }, (_, row) => row),
      )
      const rounded = linear.blocks > 0 ? scratch.take(rows * linear.rowBytes) : x
      const y = scratch.take(rows * linear.outputBytes)
      kernels.run(() => {
        if (linear.blocks > 0) addRounding(kernels, linear, { x, stride: inputs * 4, rows, y: rounded })
        kernels.barrier()
        addProduct(kernels, linear, { x: rounded, rowList, rows, y })
      })
      return Array.from({ length: rows }, (_, row) => kernels.floats(y + row * linear.outputBytes, outputs))
    },
    dispose: () => linear.dispose(),
  }
}
