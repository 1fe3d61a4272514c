// Who holds KV on one attention worker: running sequences, and those kept for their prefixes or because their reader is
// slow, which give way.
//
// Invariants
//   K1  Sequences that ended are kept for their prefixes as long as nobody needs the room, in half of it at most.
//   K2  What is given up is told to the worker exactly once, with the next step.

import { createKvBlocks, type KvBlocks } from './kv-blocks.js'
import { createPrefixCache, NO_PREFIXES, type PrefixCache } from './prefix-cache.js'
import { startFrom, type Sequence } from './sequence.js'

export interface KvRoom {
  readonly blocks: KvBlocks
  readonly prefixes: Pick<PrefixCache, 'note' | 'peek'>
  /** Room for a sequence's tokens, at the cost of what is kept; false where even that does not help. */
  reserve(id: string, tokens: number): boolean
  /** Room for a sequence that starts, with the KV of its prefix where somebody holds it. */
  start(sequence: Sequence, tokens: number): boolean
  /** The sequence has ended: what it holds is kept where it can be found by its prefix. */
  keep(id: string): void
  drop(id: string): void
  /** Gives kept sequences up until what is held fits the capacity; false where that does not suffice. */
  fit(): boolean
  /** The worker does not hold the prefix that this sequence was to take over. */
  distrust(sequence: Sequence): void
  dropKept(): void
  /** Sequences whose KV the worker may drop, since the last call. */
  takeReleased(): string[]
}

export interface KvRoomOptions {
  readonly kvTokens: number
  readonly prefixCache: boolean
  /** Gives up what one sequence holds that need not run now; false where there is none. */
  readonly giveWay: () => boolean
}

export function createKvRoom({ kvTokens, prefixCache, giveWay }: KvRoomOptions): KvRoom {
  const blocks = createKvBlocks(kvTokens)
  const prefixes = prefixCache ? createPrefixCache() : NO_PREFIXES
  let released: string[] = []

  const drop = (id: string): void => {
    blocks.release(id)
    prefixes.forget(id)
    released.push(id)
  }

  const giveUpOne = (except?: string): boolean => {
    const oldest = prefixes.oldest(except)
    if (oldest === undefined) return giveWay()
    drop(oldest)
    return true
  }

  const reserve = (id: string, tokens: number, except?: string): boolean => {
    while (!blocks.reserve(id, tokens)) if (!giveUpOne(except)) return false
    return true
  }

  return {
    blocks,
    prefixes,
    reserve,
    start: (sequence, tokens) => {
      const { id } = sequence
      const prefix = prefixes.find(sequence.tokens)
      if (prefix === undefined) return reserve(id, tokens)
      blocks.share(prefix.sequence, id, prefix.length)
      if (reserve(id, tokens, prefix.sequence) && blocks.holds(prefix.sequence)) {
        startFrom(sequence, prefix)
        return true
      }
      blocks.release(id)
      return reserve(id, tokens) // there is room only where the prefix itself is given up
    },
    keep: (id) => {
      if (!prefixes.keep(id)) {
        drop(id)
        return
      }
      blocks.keep(id)
      for (let oldest = prefixes.oldest(); oldest && blocks.kept > blocks.capacity / 2; oldest = prefixes.oldest()) {
        drop(oldest)
      }
    },
    drop,
    fit: () => {
      while (blocks.used + blocks.kept > blocks.capacity) if (!giveUpOne()) return false
      return true
    },
    distrust: (sequence) => {
      const holder = sequence.epoch === 0 ? sequence.prefix?.sequence : undefined
      if (holder !== undefined && prefixes.kept.includes(holder)) drop(holder)
      else if (holder !== undefined) prefixes.forget(holder)
    },
    dropKept: () => {
      for (const id of prefixes.kept) drop(id)
    },
    takeReleased: () => {
      const ids = released
      released = []
      return ids
    },
  }
}
