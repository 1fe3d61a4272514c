// The keys and values of one sequence, in pages of PAGE_SLOTS slots. A page may belong to several sequences that share a
// prefix: it is copied by the first one that writes to it.
//
// Invariants
//   KV1  Slots below `length` hold the committed tokens in position order.
//   KV2  The tail (slots from `length`) holds the rows of the last step; commit moves the accepted ones down in
//        ascending order, so no source is overwritten before it is read, and no key is rotated again.
//   KV3  Unused slots hold finite numbers: a masked slot contributes an exact zero.
//   KV4  A page with more than one owner is never written.

import { PAGE_SLOTS, type KvPage } from '../../lib/compute/attention-core.js'

export interface CacheGeometry {
  readonly numLayers: number
  readonly numKvHeads: number
  readonly headDim: number
}

/** One page: PAGE_SLOTS slots of every layer. */
interface SharedPage {
  readonly layers: readonly KvPage[]
  owners: number
}

/** Rows of k and v [rows, numKvHeads * headDim]; the sequence's rows begin at `firstRow`. */
export interface NewRows {
  readonly k: Float32Array
  readonly v: Float32Array
  readonly firstRow: number
}

/** KV pages of one sequence; they are added as it grows. */
export class KvCache {
  private readonly geometry: CacheGeometry
  private readonly pages: SharedPage[] = []
  private committed = 0

  constructor(geometry: CacheGeometry) {
    this.geometry = geometry
  }

  get length(): number {
    return this.committed
  }

  /** Makes room for `slots` slots. */
  reserve(slots: number): void {
    while (this.pages.length * PAGE_SLOTS < slots) this.pages.push(newPage(this.geometry))
  }

  /** A layer's first pages. */
  layerPages(layer: number, numPages: number): KvPage[] {
    return this.pages.slice(0, numPages).map(({ layers }) => layers[layer]!)
  }

  /** Takes the first `slots` committed slots of another sequence: whole pages shared, the rest copied when written. */
  sharePrefix(other: KvCache, slots: number): void {
    const numPages = Math.ceil(slots / PAGE_SLOTS)
    for (const page of other.pages.slice(0, numPages)) {
      page.owners += 1
      this.pages.push(page)
    }
    this.committed = slots
  }

  /** Gives the pages up; the sequence is not used again. */
  release(): void {
    for (const page of this.pages) page.owners -= 1
    this.pages.length = 0
    this.committed = 0
  }

  /** Committed tokens held, those of a shared page in equal parts by its owners. */
  get heldTokens(): number {
    return this.pages.reduce((sum, { owners }, index) => {
      const used = Math.min(PAGE_SLOTS, Math.max(0, this.committed - index * PAGE_SLOTS))
      return sum + used / owners
    }, 0)
  }

  /** Writes rows to the given slots of a layer. */
  write(layer: number, slots: Int32Array, { k, v, firstRow }: NewRows): void {
    const { numKvHeads, headDim } = this.geometry
    for (let i = 0; i < slots.length; i++) {
      const { keys, values } = this.ownPage(slots[i]! >> PAGE_SHIFT).layers[layer]!
      const offset = slots[i]! % PAGE_SLOTS
      for (let head = 0; head < numKvHeads; head++) {
        const source = ((firstRow + i) * numKvHeads + head) * headDim
        const target = head * PAGE_SLOTS + offset
        for (let j = 0; j < headDim; j++) {
          keys[target * headDim + j] = k[source + j]!
          values[target * (headDim + 1) + j] = v[source + j]!
        }
        values[target * (headDim + 1) + headDim] = 1
      }
    }
  }

  /** Moves the accepted tail slots (ascending) to the end of the committed ones. */
  commit(acceptedSlots: ArrayLike<number>): void {
    for (let i = 0; i < acceptedSlots.length; i++) {
      const from = acceptedSlots[i]!
      const to = this.committed + i
      if (from !== to) this.moveSlot(from, to)
    }
    this.committed += acceptedSlots.length
  }

  private moveSlot(from: number, to: number): void {
    const { numKvHeads, headDim } = this.geometry
    const source = this.pages[from >> PAGE_SHIFT]!
    const target = this.ownPage(to >> PAGE_SHIFT)
    target.layers.forEach(({ keys, values }, layer) => {
      const old = source.layers[layer]!
      for (let head = 0; head < numKvHeads; head++) {
        const at = head * PAGE_SLOTS + (from % PAGE_SLOTS)
        const place = head * PAGE_SLOTS + (to % PAGE_SLOTS)
        keys.set(old.keys.subarray(at * headDim, (at + 1) * headDim), place * headDim)
        values.set(old.values.subarray(at * (headDim + 1), (at + 1) * (headDim + 1)), place * (headDim + 1))
      }
    })
  }

  /** The page, copied first where others own it too (KV4). */
  private ownPage(index: number): SharedPage {
    const page = this.pages[index]!
    if (page.owners === 1) return page
    page.owners -= 1
    const layers = page.layers.map(({ keys, values }) => ({ keys: keys.slice(), values: values.slice() }))
    const copy = { layers, owners: 1 }
    this.pages[index] = copy
    return copy
  }
}

const PAGE_SHIFT = Math.log2(PAGE_SLOTS)

function newPage({ numLayers, numKvHeads, headDim }: CacheGeometry): SharedPage {
  // The system hands out the memory of a slot when it is first written, so an unused part of a page costs nothing.
  const layers = Array.from({ length: numLayers }, () => ({
    keys: new Float32Array(numKvHeads * PAGE_SLOTS * headDim),
    values: new Float32Array(numKvHeads * PAGE_SLOTS * (headDim + 1)),
  }))
  return { layers, owners: 1 }
}
