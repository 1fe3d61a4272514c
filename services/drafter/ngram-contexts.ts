// What followed one or two tokens, roughly counted: a few followers per context, of which the rarest makes room for a
// new one (space-saving, Metwally et al. 2005).
//
// Invariants
//   B1  28 bytes per slot of a hash table that doubles and is at most half full: 56 to 112 per context.
//   B2  A count is at most MAX_COUNT, where all of the context halve: what is recent weighs more.
//   B3  While a context has had NUM_FOLLOWERS different followers at most and never halved, its counts are exact.

/** Before a context of one token. */
export const NO_TOKEN = -1

export const NUM_FOLLOWERS = 4
const MAX_COUNT = 255
const MIN_SLOTS = 64
const HASH_BEFORE = 0x9e3779b1 | 0
const HASH_LAST = 0x85ebca6b | 0

/** The last token and the one before it, or NO_TOKEN. */
export interface NgramKey {
  readonly before: number
  readonly last: number
}

export interface Followers {
  readonly tokens: readonly number[]
  readonly counts: readonly number[]
}

export class NgramContexts {
  private keys = new Int32Array(MIN_SLOTS * 2) // [slots, 2]
  private tokens = new Int32Array(MIN_SLOTS * NUM_FOLLOWERS) // [slots, NUM_FOLLOWERS]
  private counts = new Uint8Array(MIN_SLOTS * NUM_FOLLOWERS) // 0: no follower. An unused slot has none, a used one some
  private numContexts = 0

  get size(): number {
    return this.numContexts
  }

  has(key: NgramKey): boolean {
    return this.isUsed(this.slotOf(key))
  }

  /** Counts `token` after the context. */
  learn(key: NgramKey, token: number): void {
    const slot = this.claim(key)
    const place = this.placeOf(slot, token)
    if (this.tokens[place] !== token) this.tokens[place] = token
    if (this.counts[place] === MAX_COUNT) this.halve(slot)
    this.counts[place]! += 1
  }

  followers(key: NgramKey): Followers | undefined {
    const first = this.slotOf(key) * NUM_FOLLOWERS
    const size = this.counts.subarray(first, first + NUM_FOLLOWERS).findIndex((count) => count === 0)
    const end = first + (size === -1 ? NUM_FOLLOWERS : size)
    if (end === first) return undefined
    return { tokens: [...this.tokens.subarray(first, end)], counts: [...this.counts.subarray(first, end)] }
  }

  /** Takes over a context that is not held yet. */
  put(key: NgramKey, { tokens, counts }: Followers): void {
    const first = this.claim(key) * NUM_FOLLOWERS
    this.tokens.set(tokens, first)
    this.counts.set(counts, first)
  }

  /** The place of a follower: its own, else a free one, else that of the rarest. */
  private placeOf(slot: number, token: number): number {
    const first = slot * NUM_FOLLOWERS
    let rarest = first
    for (let place = first; place < first + NUM_FOLLOWERS; place++) {
      if (this.counts[place] === 0 || this.tokens[place] === token) return place
      if (this.counts[place]! < this.counts[rarest]!) rarest = place
    }
    return rarest
  }

  private halve(slot: number): void {
    const first = slot * NUM_FOLLOWERS
    for (let place = first; place < first + NUM_FOLLOWERS; place++) this.counts[place] = (this.counts[place]! + 1) >> 1
  }

  private isUsed(slot: number): boolean {
    return this.counts[slot * NUM_FOLLOWERS] !== 0
  }

  /** The slot of a context, or the unused one where it belongs. */
  private slotOf({ before, last }: NgramKey): number {
    const mask = this.keys.length / 2 - 1
    const hash = Math.imul(Math.imul(before, HASH_BEFORE) ^ last, HASH_LAST)
    for (let slot = (hash ^ (hash >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      if (!this.isUsed(slot)) return slot
      if (this.keys[slot * 2] === before && this.keys[slot * 2 + 1] === last) return slot
    }
  }

  /** The slot of a context that is about to get a follower. */
  private claim(key: NgramKey): number {
    const known = this.slotOf(key)
    if (this.isUsed(known)) return known
    if (++this.numContexts * 4 > this.keys.length) this.grow()
    const slot = this.slotOf(key)
    this.keys[slot * 2] = key.before
    this.keys[slot * 2 + 1] = key.last
    return slot
  }

  private grow(): void {
    const { keys, tokens, counts } = this
    this.keys = new Int32Array(keys.length * 2)
    this.tokens = new Int32Array(tokens.length * 2)
    this.counts = new Uint8Array(counts.length * 2)
    for (let old = 0; old < keys.length / 2; old++) {
      const first = old * NUM_FOLLOWERS
      if (counts[first] === 0) continue
      const slot = this.slotOf({ before: keys[old * 2]!, last: keys[old * 2 + 1]! })
      this.keys.set(keys.subarray(old * 2, old * 2 + 2), slot * 2)
      this.tokens.set(tokens.subarray(first, first + NUM_FOLLOWERS), slot * NUM_FOLLOWERS)
      this.counts.set(counts.subarray(first, first + NUM_FOLLOWERS), slot * NUM_FOLLOWERS)
    }
  }
}
