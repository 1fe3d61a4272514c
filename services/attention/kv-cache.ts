// The keys and values of one sequence: per layer and KV head one token-major buffer, so that attention reads a
// contiguous prefix without a copy. A value row carries one extra column of ones (`lib/compute/attention-core`).
//
// Invariants
//   KV1  Slots below `length` hold the committed tokens in position order.
//   KV2  The tail (slots from `length`) holds the rows of the last step; commit moves the accepted ones down in
//        ascending order, so no source is overwritten before it is read, and no key is rotated again.
//   KV3  Unused slots hold finite numbers: a masked slot contributes an exact zero.

export interface CacheGeometry {
  readonly numLayers: number
  readonly numKvHeads: number
  readonly headDim: number
}

const GROWTH_SLOTS = 128

/** KV buffers of one sequence; they grow with its length, in steps of 128 slots or a quarter. */
export class KvCache {
  private readonly geometry: CacheGeometry
  private keys: Float32Array[] // [layer * numKvHeads + head] → [capacity, headDim]
  private values: Float32Array[] // [layer * numKvHeads + head] → [capacity, headDim + 1]
  private capacity = 0
  private committed = 0

  constructor(geometry: CacheGeometry) {
    this.geometry = geometry
    const numBuffers = geometry.numLayers * geometry.numKvHeads
    this.keys = Array.from({ length: numBuffers }, () => new Float32Array(0))
    this.values = Array.from({ length: numBuffers }, () => new Float32Array(0))
  }

  get length(): number {
    return this.committed
  }

  /** Makes room for `slots` slots. */
  reserve(slots: number): void {
    if (slots <= this.capacity) return
    const { headDim } = this.geometry
    const wanted = Math.max(slots, this.capacity + Math.max(GROWTH_SLOTS, this.capacity >> 2))
    this.capacity = Math.ceil(wanted / GROWTH_SLOTS) * GROWTH_SLOTS
    this.keys = this.keys.map((buffer) => grown(buffer, this.capacity * headDim))
    this.values = this.values.map((buffer) => grown(buffer, this.capacity * (headDim + 1)))
  }

  layerKeys(layer: number): Float32Array[] {
    return this.keys.slice(layer * this.geometry.numKvHeads, (layer + 1) * this.geometry.numKvHeads)
  }

  layerValues(layer: number): Float32Array[] {
    return this.values.slice(layer * this.geometry.numKvHeads, (layer + 1) * this.geometry.numKvHeads)
  }

  /** Writes rows firstRow … of k and v ([rows, numKvHeads * headDim]) to the given slots of a layer. */
  write(layer: number, slots: Int32Array, rows: { k: Float32Array; v: Float32Array; firstRow: number }): void {
    const { numKvHeads, headDim } = this.geometry
    for (let head = 0; head < numKvHeads; head++) {
      const keys = this.keys[layer * numKvHeads + head]!
      const values = this.values[layer * numKvHeads + head]!
      for (let i = 0; i < slots.length; i++) {
        const source = ((rows.firstRow + i) * numKvHeads + head) * headDim
        const slot = slots[i]!
        keys.set(rows.k.subarray(source, source + headDim), slot * headDim)
        values.set(rows.v.subarray(source, source + headDim), slot * (headDim + 1))
        values[slot * (headDim + 1) + headDim] = 1
      }
    }
  }

  /** Moves the accepted tail slots (ascending) to the end of the committed ones. */
  commit(acceptedSlots: ArrayLike<number>): void {
    const { headDim } = this.geometry
    for (let i = 0; i < acceptedSlots.length; i++) {
      const from = acceptedSlots[i]!
      const to = this.committed + i
      if (from === to) continue
      for (const buffer of this.keys) buffer.copyWithin(to * headDim, from * headDim, (from + 1) * headDim)
      for (const buffer of this.values) {
        buffer.copyWithin(to * (headDim + 1), from * (headDim + 1), (from + 1) * (headDim + 1))
      }
    }
    this.committed += acceptedSlots.length
  }
}

function grown(buffer: Float32Array, length: number): Float32Array {
  const result = new Float32Array(length)
  result.set(buffer)
  return result
}
