// Pages of the KV cache. A page holds PAGE_SLOTS slots of one layer: keys [kvHeads, slots / 8, headDim, 8], so that eight
// slots are scored at once over memory that is read in order, then values [kvHeads, slots, valueDim]. Numbers are float32,
// or float16: rounded to the nearest (even at a tie), what is too large to the largest, so that all of them are finite.

import { toFloat16 } from './widening'

export const PAGE_SLOTS_LOG2: usize = 7
export const PAGE_SLOTS: i32 = 128

/** Bytes of a number, as a power of two. */
export const FLOAT16_LOG2: usize = 1

/** Some dimensions of a key into its slot; `key` is where the first one goes. Returns where the next one would. */
export function keepKey(from: usize, width: usize, key: usize, log2: usize): usize {
  for (const end = from + (width << 2); from < end; from += 4) {
    if (log2 == FLOAT16_LOG2) store<u16>(key, toFloat16(load<f32>(from)))
    else store<f32>(key, load<f32>(from))
    key += <usize>8 << log2
  }
  return key
}

/** A value into its slot. */
export function keepValue(from: usize, width: usize, value: usize, log2: usize): void {
  if (log2 != FLOAT16_LOG2) return memory.copy(value, from, width << 2)
  for (const end = from + (width << 2); from < end; from += 4) {
    store<u16>(value, toFloat16(load<f32>(from)))
    value += 2
  }
}

/** Bytes from a head's keys to the first dimension of a slot's key. */
// @ts-ignore: decorator
@inline
export function keyPlace(slot: usize, headDim: usize, log2: usize): usize {
  return (((slot >> 3) * headDim) << (3 + log2)) + ((slot & 7) << log2)
}

/** A row's keys and values into its slot; `page` is where the layer's part of the page begins. */
export function keep(k: usize, v: usize, heads: usize, headDim: usize, valueDim: usize, page: usize, slot: usize, log2: usize): void {
  const keyBytes = headDim << log2
  const valueBytes = valueDim << log2
  const inner = keyPlace(slot, headDim, log2)
  for (let head: usize = 0; head < heads; head++) {
    keepKey(k, headDim, page + head * (keyBytes << PAGE_SLOTS_LOG2) + inner, log2)
    k += headDim << 2
  }
  let value = page + ((heads * keyBytes) << PAGE_SLOTS_LOG2) + slot * valueBytes
  for (let head: usize = 0; head < heads; head++) {
    keepValue(v, valueDim, value, log2)
    v += valueDim << 2
    value += valueBytes << PAGE_SLOTS_LOG2
  }
}
