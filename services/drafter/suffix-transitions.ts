// The transitions of a suffix automaton: (state, token) → state, and the tokens that leave a state.
//
// Invariants
//   T1  A state has at most one transition per token. Those of a state are listed in the order in which they came.
//   T2  24 bytes per transition (8 of them its share of a hash table that is half full) and 4 per state, up to twice
//       that after the arrays doubled.

const HASH_STATE = 0x9e3779b1 | 0
const HASH_TOKEN = 0x85ebca6b | 0
const MIN_CAPACITY = 64

/** No state, no transition. */
export const NONE = -1

/** A copy of twice the size, `NONE` where nothing was. */
export function doubled(values: Int32Array): Int32Array<ArrayBuffer> {
  const result = new Int32Array(values.length * 2).fill(NONE)
  result.set(values)
  return result
}

const empty = (length: number): Int32Array<ArrayBuffer> => new Int32Array(length).fill(NONE)

export class SuffixTransitions {
  private sources = empty(MIN_CAPACITY) // by transition, as the next three
  private tokens = empty(MIN_CAPACITY)
  private targets = empty(MIN_CAPACITY)
  private followers = empty(MIN_CAPACITY) // the next transition of the same state; after the last one comes the first
  private lasts = empty(MIN_CAPACITY) // state → its last transition
  private slots = empty(2 * MIN_CAPACITY) // hash → transition, open addressing
  private numTransitions = 0

  get numBytes(): number {
    return 4 * (4 * this.sources.length + this.lasts.length + this.slots.length)
  }

  /** Where `token` leads from `state`. */
  target(state: number, token: number): number {
    const transition = this.slots[this.slotOf(state, token)]!
    return transition === NONE ? NONE : this.targets[transition]!
  }

  /** Adds a transition or turns the one that is there. */
  set(state: number, token: number, target: number): void {
    const slot = this.slotOf(state, token)
    const transition = this.slots[slot]!
    if (transition === NONE) this.insert(slot, { state, token, target })
    else this.targets[transition] = target
  }

  /** Gives `to` all that leaves `from`. */
  copy(from: number, to: number): void {
    this.visit(from, Infinity, (token, target) => this.set(to, token, target))
  }

  /** Calls back for the first `limit` transitions of a state. */
  visit(state: number, limit: number, visitor: (token: number, target: number) => void): void {
    const last = this.lasts[state] ?? NONE
    if (last === NONE) return
    let transition = last
    for (let visited = 0; visited < limit; visited++) {
      transition = this.followers[transition]!
      visitor(this.tokens[transition]!, this.targets[transition]!)
      if (transition === last) return
    }
  }

  private insert(slot: number, { state, token, target }: { state: number; token: number; target: number }): void {
    const transition = this.numTransitions++
    this.slots[slot] = transition
    this.sources[transition] = state
    this.tokens[transition] = token
    this.targets[transition] = target
    this.list(state, transition)
    if (this.numTransitions === this.sources.length) this.grow()
  }

  private list(state: number, transition: number): void {
    while (state >= this.lasts.length) this.lasts = doubled(this.lasts)
    const last = this.lasts[state]!
    this.followers[transition] = last === NONE ? transition : this.followers[last]!
    if (last !== NONE) this.followers[last] = transition
    this.lasts[state] = transition
  }

  /** The slot of a transition, or the empty one where it belongs. */
  private slotOf(state: number, token: number): number {
    const mask = this.slots.length - 1
    const hash = Math.imul(Math.imul(state, HASH_STATE) ^ token, HASH_TOKEN)
    for (let slot = (hash ^ (hash >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      const transition = this.slots[slot]!
      if (transition === NONE) return slot
      if (this.sources[transition] === state && this.tokens[transition] === token) return slot
    }
  }

  private grow(): void {
    this.sources = doubled(this.sources)
    this.tokens = doubled(this.tokens)
    this.targets = doubled(this.targets)
    this.followers = doubled(this.followers)
    this.slots = empty(2 * this.sources.length)
    for (let transition = 0; transition < this.numTransitions; transition++) {
      this.slots[this.slotOf(this.sources[transition]!, this.tokens[transition]!)] = transition
    }
  }
}
