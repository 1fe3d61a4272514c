// What is asked of the experts of one layer, on the wire (`expert.compute`) and between neighbours in one process.

import type { PlacedExpert } from './expert-layer.js'
import type { Kernels } from './kernels.js'

/** One expert on some rows; a list of calls ascends by shard, then by expert. */
export interface ExpertCall {
  readonly shard: number
  readonly expert: number
  readonly rows: ArrayLike<number> // ascending places in hidden
  readonly weights: ArrayLike<number>
}

/** Rows that experts read. */
export interface ExpertInput {
  readonly isRounded: boolean // as products read them (`roundedBytes`), else float32
  readonly numRows: number
  readonly bytes: Uint8Array
}

/** Rows [numRows, hidden] of float32. */
export const floatInput = (x: Float32Array, hidden: number): ExpertInput => ({
  isRounded: false,
  numRows: x.length / hidden,
  bytes: new Uint8Array(x.buffer, x.byteOffset, x.byteLength),
})

export interface LayerCall {
  readonly layer: number
  readonly input: ExpertInput
  readonly calls: readonly ExpertCall[]
}

/** An expert that a layer touches, and on how many rows. */
export interface TouchedExpert {
  readonly expert: number
  readonly shard: number
  readonly count: number
}

/** An expert worker in the same process: attention calls it without a frame. */
export interface ExpertNeighbour {
  readonly kernels: Kernels | undefined // of the CPU engine that holds its experts; undefined: a device holds them
  /** Partials [rows of every touched shard, hidden]: shards ascending, rows ascending; read before the next run. */
  readonly compute: (call: LayerCall) => Float32Array
  /** An expert that is loaded; `undefined` otherwise. Whoever runs it counts the rows. */
  readonly expert: (layer: number, shard: number, expert: number) => PlacedExpert | undefined
  readonly count: (layer: number, touched: readonly TouchedExpert[]) => void
}

/** Expert workers in the same process, by address. */
export type ExpertNeighbours = Map<string, ExpertNeighbour>
