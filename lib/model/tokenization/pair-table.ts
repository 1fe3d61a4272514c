// Which two tokens merge, how early, and into what: a hash table over typed arrays, as there are half a million merges.

export interface PairTable {
  /** Later merges of the same pair replace earlier ones. */
  set(left: number, right: number, rank: number, merged: number): void
  /** A slot to ask `rankAt` and `mergedAt` about, or -1. */
  find(left: number, right: number): number
  rankAt(slot: number): number
  mergedAt(slot: number): number
}

/** For at most `numPairs` pairs. */
export function createPairTable(numPairs: number): PairTable {
  const bits = Math.max(4, Math.ceil(Math.log2(numPairs + 1)) + 1) // at most half full
  const mask = 2 ** bits - 1
  const lefts = new Int32Array(mask + 1).fill(-1)
  const rights = new Int32Array(mask + 1)
  const ranks = new Int32Array(mask + 1)
  const results = new Int32Array(mask + 1)

  /** The pair's slot, or the free one where it would stand. */
  const slotOf = (left: number, right: number): number => {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> (32 - bits)
    while (lefts[slot] !== -1 && (lefts[slot] !== left || rights[slot] !== right)) slot = (slot + 1) & mask
    return slot
  }
  return {
    set: (left, right, rank, merged) => {
      const slot = slotOf(left, right)
      lefts[slot] = left
      rights[slot] = right
      ranks[slot] = rank
      results[slot] = merged
    },
    find: (left, right) => {
      const slot = slotOf(left, right)
      return lefts[slot] === -1 ? -1 : slot
    },
    rankAt: (slot) => ranks[slot]!,
    mergedAt: (slot) => results[slot]!,
  }
}
