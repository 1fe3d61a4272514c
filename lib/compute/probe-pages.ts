// Pages and masks for probes and tests: where a token's key and value are stored must not change what attention gives.

import { PAGE_SLOTS, type HeadGeometry, type KvPage } from './attention-core.js'

export interface TokenRows {
  readonly keys: Float32Array // [tokens, kvHeads, headDim]
  readonly values: Float32Array // [tokens, kvHeads, headDim]
}

/** Pages whose slot i holds the key and value of token `tokens[i]`. */
export function pagesOf(
  { numKvHeads, headDim }: HeadGeometry,
  { keys, values }: TokenRows,
  tokens: readonly number[],
): KvPage[] {
  const pages = Array.from({ length: Math.ceil(tokens.length / PAGE_SLOTS) }, () => ({
    keys: new Float32Array(numKvHeads * PAGE_SLOTS * headDim),
    values: new Float32Array(numKvHeads * PAGE_SLOTS * (headDim + 1)),
  }))
  tokens.forEach((token, slot) => {
    const page = pages[Math.floor(slot / PAGE_SLOTS)]
    for (let head = 0; head < numKvHeads; head++) {
      const from = (token * numKvHeads + head) * headDim
      const to = head * PAGE_SLOTS + (slot % PAGE_SLOTS)
      page?.keys.set(keys.subarray(from, from + headDim), to * headDim)
      page?.values.set([...values.subarray(from, from + headDim), 1], to * (headDim + 1))
    }
  })
  return pages
}

/** [rows, pages * PAGE_SLOTS]: 0 at the slots that a row sees. */
export function maskOf(numPages: number, seen: readonly (readonly number[])[]): Float32Array {
  const mask = new Float32Array(seen.length * numPages * PAGE_SLOTS).fill(-Infinity)
  seen.forEach((slots, row) => {
    for (const slot of slots) mask[row * numPages * PAGE_SLOTS + slot] = 0
  })
  return mask
}
