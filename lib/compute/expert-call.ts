// What is asked of the experts of one layer, on the wire (`expert.compute`) and between neighbours in one process.

/** One expert on some rows; a list of calls ascends by shard, then by expert. */
export interface ExpertCall {
  readonly shard: number
  readonly expert: number
  readonly rows: ArrayLike<number> // ascending places in hidden
  readonly weights: ArrayLike<number>
}

export interface LayerCall {
  readonly layer: number
  readonly hidden: Float32Array // [rows, hidden]
  readonly calls: readonly ExpertCall[]
}

/**
 * Expert workers in the same process, by address. Attention calls them without a frame: the same function on the same
 * weights. Each returns partials [rows of every touched shard, hidden]: shards ascending, rows ascending.
 */
export type ExpertNeighbours = Map<string, (call: LayerCall) => Float32Array>
