// Finds where the end of a text occurred before, what followed there and how often: the suffix automaton (Blumer et
// al. 1985) of one or several growing texts. A state stands for the strings that end at the same places.
//
// Invariants
//   S1  A path of transitions from the root spells a string that occurs within one text; every such string has a path.
//   S2  The link of a state is its longest suffix that ends at more places; the root is the empty string.
//   S3  A count is the number of places where the state's strings end, as long as no state is more than MAX_LINKS
//       links above the root; beyond, those of the shortest suffixes fall short.
//   S4  An append costs O(1) amortised. At most 2 states of 16 bytes and 3 transitions of 24 per token, so 104 bytes, or
//       208 after the arrays doubled; program text takes 75 to 150.
//   S5  A match holds until the next append.

import { doubled, NONE, SuffixTransitions } from './suffix-transitions.js'

/** The state of the empty string. */
export const ROOT = 0

const MAX_LINKS = 64
const MIN_CAPACITY = 64

/** The last `length` tokens of some text, found in an automaton. */
export interface SuffixMatch {
  readonly state: number
  readonly length: number
}

/** Nothing matches, which always matches. */
export const NO_MATCH: SuffixMatch = { state: ROOT, length: 0 }

export class SuffixAutomaton {
  private readonly transitions = new SuffixTransitions()
  private lengths = new Int32Array(MIN_CAPACITY) // of the longest string of a state
  private links = new Int32Array(MIN_CAPACITY).fill(NONE)
  private counts = new Int32Array(MIN_CAPACITY)
  private numStates = 1
  private last = ROOT // of the whole text so far
  private appended = 0

  /** Of all texts. */
  get numTokens(): number {
    return this.appended
  }

  get numBytes(): number {
    return this.transitions.numBytes + 4 * 3 * this.lengths.length
  }

  /** The text that grows, all of it. What occurred before is `shorter` than that. */
  get whole(): SuffixMatch {
    return { state: this.last, length: this.lengths[this.last]! }
  }

  /** The next token begins another text. */
  startText(): void {
    this.last = ROOT
  }

  append(token: number): void {
    const known = this.transitions.target(this.last, token)
    this.last = known === NONE ? this.extend(token) : this.exactly(this.last, token)
    this.appended++
    let state = this.last
    for (let links = 0; links < MAX_LINKS && state !== ROOT; links++, state = this.links[state]!)
      this.counts[state]! += 1
  }

  /** The longest end of the matched text and one more token that occurs here. */
  advance({ state, length }: SuffixMatch, token: number): SuffixMatch {
    let from = state
    let target = this.transitions.target(from, token)
    for (; target === NONE && from !== ROOT; target = this.transitions.target(from, token)) from = this.links[from]!
    if (target === NONE) return NO_MATCH
    return { state: target, length: (from === state ? length : this.lengths[from]!) + 1 }
  }

  /** The longest end of a text that occurs here. */
  match(text: Int32Array): SuffixMatch {
    let match = NO_MATCH
    for (const token of text) match = this.advance(match, token)
    return match
  }

  /** The longest end of a match that occurs at more places. */
  shorter({ state }: SuffixMatch): SuffixMatch {
    const link = state === ROOT ? ROOT : this.links[state]!
    return { state: link, length: this.lengths[link]! }
  }

  /** Calls back with the first `limit` different tokens that followed a match, and how often each did. */
  visitNext({ state }: SuffixMatch, limit: number, visitor: (token: number, count: number) => void): void {
    this.transitions.visit(state, limit, (token, target) => visitor(token, this.counts[target]!))
  }

  /** The state of the whole text and a token that never followed it. */
  private extend(token: number): number {
    const state = this.create(this.lengths[this.last]! + 1)
    let from = this.last
    for (; from !== NONE && this.transitions.target(from, token) === NONE; from = this.links[from]!) {
      this.transitions.set(from, token, state)
    }
    const link = from === NONE ? ROOT : this.exactly(from, token) // may grow the arrays: before they are written
    this.links[state] = link
    return state
  }

  /** The state whose longest string is that of `from` and the token: split off from the target where it is longer. */
  private exactly(from: number, token: number): number {
    const target = this.transitions.target(from, token)
    const length = this.lengths[from]! + 1
    if (this.lengths[target] === length) return target
    const clone = this.create(length)
    this.counts[clone] = this.counts[target]!
    this.links[clone] = this.links[target]!
    this.links[target] = clone
    this.transitions.copy(target, clone)
    for (let at = from; at !== NONE && this.transitions.target(at, token) === target; at = this.links[at]!) {
      this.transitions.set(at, token, clone)
    }
    return clone
  }

  private create(length: number): number {
    if (this.numStates === this.lengths.length) this.grow()
    const state = this.numStates++
    this.lengths[state] = length
    this.counts[state] = 0
    return state
  }

  private grow(): void {
    this.lengths = doubled(this.lengths)
    this.links = doubled(this.links)
    this.counts = doubled(this.counts)
  }
}
