// Pages of the KV cache. A page holds PAGE_SLOTS slots of one layer: keys [kvHeads, slots / 8, headDim, 8], so that eight
// slots are scored at once over memory that is read in order, then values [kvHeads, slots, valueDim].

export const PAGE_SLOTS_LOG2: usize = 7
export const PAGE_SLOTS: i32 = 128

/** Some dimensions of a key into its slot; `key` is where the first one goes. Returns where the next one would. */
export function keepKey(from: usize, width: usize, key: usize): usize {
  for (const end = from + (width << 2); from < end; from += 4) {
    store<f32>(key, load<f32>(from))
    key += 32
  }
  return key
}

/** Bytes from a head's keys to the first dimension of a slot's key. */
// @ts-ignore: decorator
@inline
export function keyPlace(slot: usize, headDim: usize): usize {
  return (((slot >> 3) * headDim) << 5) + ((slot & 7) << 2)
}

/** A row's keys and values into its slot; `page` is where the layer's part of the page begins. */
export function keep(k: usize, v: usize, heads: usize, headDim: usize, valueDim: usize, page: usize, slot: usize): void {
  const keyBytes = headDim << 2
  const valueBytes = valueDim << 2
  const inner = keyPlace(slot, headDim)
  for (let head: usize = 0; head < heads; head++) {
    keepKey(k, headDim, page + head * (keyBytes << PAGE_SLOTS_LOG2) + inner)
    k += keyBytes
  }
  let value = page + ((heads * keyBytes) << PAGE_SLOTS_LOG2) + slot * valueBytes
  for (let head: usize = 0; head < heads; head++) {
    memory.copy(value, v, valueBytes)
    v += valueBytes
    value += valueBytes << PAGE_SLOTS_LOG2
  }
}
