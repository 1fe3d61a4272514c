// How evenly rows fall on the experts of each layer: the busiest over the mean. Windows of steps, not of time, so that an
// idle hour changes nothing.

import { readI32, type WireTensor } from '../../lib/wire/tensor.js'

const WINDOW_STEPS = 256

export interface Imbalance {
  stepDone(): void
  /** By layer, over the last whole window, or before there is one the steps so far; layers without rows are left out. */
  ratios(): ReadonlyMap<number, number>
}

/** `numRouted`: routed experts of each layer; `totals`: rows of all time [layers, experts], modulo 2^32. */
export function createImbalance(numRouted: readonly number[], totals: () => WireTensor): Imbalance {
  let base: Int32Array | undefined // at the start of the window
  let last: ReadonlyMap<number, number> | undefined
  let numSteps = 0

  const measure = (): ReadonlyMap<number, number> => {
    const rows = totals()
    const numColumns = rows.shape[1] ?? 0
    const counts = readI32(rows, 'rows').map((count, at) => count - (base?.[at] ?? 0))
    const ratios = new Map<number, number>()
    for (const [layer, numExperts] of numRouted.entries()) {
      const own = counts.subarray(layer * numColumns, layer * numColumns + numExperts)
      const total = own.reduce((sum, count) => sum + count, 0)
      if (total > 0) ratios.set(layer, (Math.max(...own) * numExperts) / total)
    }
    return ratios
  }

  return {
    stepDone: () => {
      numSteps += 1
      if (numSteps < WINDOW_STEPS) return
      last = measure()
      base = Int32Array.from(readI32(totals(), 'rows'))
      numSteps = 0
    },
    ratios: () => last ?? measure(),
  }
}
