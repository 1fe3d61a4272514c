// How a page of the KV cache is laid out (`kernels/pages.ts`): layer after layer, of each the keys
// [kvHeads, slots / 8, headDim, 8], then the values [kvHeads, slots, valueDim], float32 or float16.

import { kvNumberBytes, type KvFormat } from '../model/kv-formats.js'

/** Slots of a page. */
export const PAGE_SLOTS = 128

/** What a layer keeps of a token. */
export interface KvGeometry {
  readonly numKvHeads: number
  readonly headDim: number // of a key
  readonly valueDim: number // even
}

/** Bytes of one layer of a page. */
export const layerBytes = ({ numKvHeads, headDim, valueDim }: KvGeometry, format: KvFormat): number =>
  numKvHeads * (headDim + valueDim) * PAGE_SLOTS * kvNumberBytes(format)

export const pageBytes = (layers: readonly KvGeometry[], format: KvFormat): number =>
  layers.reduce((sum, layer) => sum + layerBytes(layer, format), 0)

/** A page's numbers as they are kept. */
export type PageNumbers = Float32Array | Uint16Array

/** A page's bytes as its numbers. */
export function pageNumbers(bytes: Uint8Array, format: KvFormat): PageNumbers {
  const { buffer, byteOffset, byteLength } = bytes
  return format === 'f16'
    ? new Uint16Array(buffer, byteOffset, byteLength / 2)
    : new Float32Array(buffer, byteOffset, byteLength / 4)
}

/** A vector may reach over the end of a page's last value. */
export const SLACK_BYTES = 64

/** Copies a slot's keys and values of all layers from one page's numbers to another's, or within one. */
export function copySlot(
  layers: readonly KvGeometry[],
  from: { readonly page: PageNumbers; readonly slot: number },
  to: { readonly page: PageNumbers; readonly slot: number },
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

/** Where a slot's key begins in a head's keys; its next dimension is eight numbers on. */
const keyPlace = (slot: number, headDim: number): number => (slot >> 3) * headDim * 8 + (slot & 7)
