// How a page of the KV cache is laid out (`kernels/pages.ts`): layer after layer, of each the keys
// [kvHeads, slots / 8, headDim, 8], then the values [kvHeads, slots, valueDim], float32.

/** Slots of a page. */
export const PAGE_SLOTS = 128

/** What a layer keeps of a token. */
export interface KvGeometry {
  readonly numKvHeads: number
  readonly headDim: number // of a key
  readonly valueDim: number // even
}

/** Bytes of one layer of a page. */
export const layerBytes = ({ numKvHeads, headDim, valueDim }: KvGeometry): number =>
  numKvHeads * (headDim + valueDim) * PAGE_SLOTS * 4

export const pageBytes = (layers: readonly KvGeometry[]): number =>
  layers.reduce((sum, layer) => sum + layerBytes(layer), 0)

/** A vector may reach over the end of a page's last value. */
export const SLACK_BYTES = 64

/** Copies a slot's keys and values of all layers from one page's floats to another's, or within one. */
export function copySlot(
  layers: readonly KvGeometry[],
  from: { readonly page: Float32Array; readonly slot: number },
  to: { readonly page: Float32Array; readonly slot: number },
): void {
  let at = 0
  for (const { numKvHeads, headDim, valueDim } of layers) {
    for (let head = 0; head < numKvHeads; head++, at += headDim * PAGE_SLOTS) {
      const [target, source] = [at + keyPlace(to.slot, headDim), at + keyPlace(from.slot, headDim)]
      for (let i = 0; i < headDim * 8; i += 8) to.page[target + i] = from.page[source + i]!
    }
    for (let head = 0; head < numKvHeads; head++, at += valueDim * PAGE_SLOTS) {
      const [target, source] = [at + to.slot * valueDim, at + from.slot * valueDim]
      for (let i = 0; i < valueDim; i++) to.page[target + i] = from.page[source + i]!
    }
  }
}

/** Where a slot's key begins in a head's keys; its next dimension is eight floats on. */
const keyPlace = (slot: number, headDim: number): number => (slot >> 3) * headDim * 8 + (slot & 7)
