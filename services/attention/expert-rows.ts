// Rows that each expert computed for this worker since it started, counted modulo 2^32. One addition per layer and touched
// expert, whether anybody looks or not.

import type { ShardPlan } from '../../lib/model/expert-shards.js'
import { packI32, type WireTensor } from '../../lib/wire/tensor.js'

export interface ExpertRows {
  note(layer: number, expert: number, numRows: number): void
  /** i32 [layers, experts]; the always-active expert of a layer comes after its routed ones. */
  totals(): WireTensor
}

export function createExpertRows(plan: ShardPlan, numLayers: number): ExpertRows {
  const shards = [...Array(plan.numShards).keys()]
  const lastExpert = (layer: number): number => Math.max(...shards.flatMap((shard) => plan.expertsOf(layer, shard)))
  const columns = 1 + Math.max(...Array.from({ length: numLayers }, (_, layer) => lastExpert(layer)))
  const rows = new Int32Array(numLayers * columns)
  return {
    note: (layer, expert, numRows) => {
      rows[layer * columns + expert]! += numRows
    },
    totals: () => ({ ...packI32(rows), shape: [numLayers, columns] }),
  }
}
