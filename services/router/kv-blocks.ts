// KV accounting of one attention worker, in blocks of 16 tokens. The tensors live there; the router only counts.
//
// Invariants
//   B1  The sum of what is held never exceeds the capacity.
//   B2  A sequence's blocks come back exactly once, whatever way it ends.

export const BLOCK_TOKENS = 16

export interface KvBlocks {
  readonly capacity: number // blocks
  readonly used: number
  /** Grows a sequence's share to hold `tokens`; false where there is no room, and nothing changes then. */
  reserve(sequence: string, tokens: number): boolean
  release(sequence: string): void
}

export const blocksFor = (tokens: number): number => Math.ceil(tokens / BLOCK_TOKENS)

export function createKvBlocks(capacityTokens: number): KvBlocks {
  const capacity = Math.floor(capacityTokens / BLOCK_TOKENS)
  const held = new Map<string, number>()
  let used = 0
  return {
    capacity,
    get used() {
      return used
    },
    reserve: (sequence, tokens) => {
      const has = held.get(sequence) ?? 0
      const wants = Math.max(has, blocksFor(tokens))
      if (used + wants - has > capacity) return false
      held.set(sequence, wants)
      used += wants - has
      return true
    },
    release: (sequence) => {
      used -= held.get(sequence) ?? 0
      held.delete(sequence)
    },
  }
}
