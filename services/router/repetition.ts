// How far a text lately repeats itself, and what would come next if it went on: what followed its last two tokens the time
// before. That costs next to nothing, needs no drafter, and says best what drafts will bring: a text that goes in a circle
// gains thirty tokens where others gain one.
//
// Invariants
//   R1  Memory is bounded, whatever the length: a pair pushes out another of the same place.
//   R2  A token is read once; committed tokens do not change.
//   R3  Nothing of one sequence is ever proposed for another.

const PLACES = 2048
const PLACE_BITS = 11
const FAR_BACK = 4096 // tokens before the end that are not read any more
const CLASSES = 7 // of repeated tokens: none, one, two and more, four, … 32
const PRIOR = 32 // tokens
const RATE = 0.002

/** The class of so many repeated tokens. */
export const repetitionClass = (streak: number): number => Math.min(CLASSES - 1, Math.ceil(Math.log2(1 + streak)))

/** How often a text that has repeated so many tokens repeats the next one, learned from all that is generated. */
export class RepetitionOdds {
  private readonly shares: Float64Array
  private readonly numSeen = new Float64Array(CLASSES)

  constructor() {
    const least = (c: number): number => (c === 0 ? 0 : 2 ** (c - 1))
    this.shares = Float64Array.from({ length: CLASSES }, (_, c) => (least(c) + 1) / (least(c) + 2)) // rule of succession
  }

  of(streak: number): number {
    return this.shares[repetitionClass(streak)]!
  }

  learn(streak: number, isRepeated: boolean): void {
    const c = repetitionClass(streak)
    this.numSeen[c]! += 1
    const rate = Math.max(RATE, 1 / (this.numSeen[c]! + PRIOR))
    this.shares[c]! += rate * ((isRepeated ? 1 : 0) - this.shares[c]!)
  }
}

/** Tokens that may come next, one after the other. */
export interface Chain {
  readonly tokens: readonly number[]
  readonly values: readonly number[] // [tokens], probability that all come up to this one; falling
}

const NOTHING: Chain = { tokens: [], values: [] }

export class Repetition {
  /** Last tokens, one after the other, that were repeated. */
  streak = 0
  private readonly places = new Int32Array(PLACES) // after a pair of tokens; 0: it was not seen
  private readonly odds: RepetitionOdds
  private numRead = 0

  constructor(odds: RepetitionOdds) {
    this.odds = odds
  }

  /** Takes in what was committed since; of the text from `promptLength` on the odds learn. */
  read(tokens: readonly number[], promptLength: number): void {
    for (let i = Math.max(2, this.numRead, tokens.length - FAR_BACK); i < tokens.length; i++) {
      const pair = placeOf(tokens[i - 2]!, tokens[i - 1]!)
      const seen = this.places[pair]!
      const isRepeated = seen > 0 && tokens[seen] === tokens[i]
      if (seen > 0 && i >= promptLength) this.odds.learn(this.streak, isRepeated)
      this.streak = isRepeated ? this.streak + 1 : 0
      this.places[pair] = i
    }
    this.numRead = tokens.length
  }

  /** What comes next where the text goes on repeating: tokens of at least that value. All of them have been read. */
  next(tokens: readonly number[], { most, least }: { most: number; least: number }): Chain {
    const { length } = tokens
    const from = length < 2 ? 0 : this.places[placeOf(tokens[length - 2]!, tokens[length - 1]!)]!
    if (from === 0) return NOTHING
    const chain = { tokens: [] as number[], values: [] as number[] }
    let value = 1
    for (let i = 0; i < most; i++) {
      value *= this.odds.of(this.streak + i)
      if (value < least) break
      chain.tokens.push(tokens[from + (i % (length - from))]!) // a circle: what is copied last is copied again
      chain.values.push(value)
    }
    return chain
  }
}

/** Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4). */
const placeOf = (a: number, b: number): number =>
  Math.imul(Math.imul(a, 0x9e3779b1) ^ b, 0x9e3779b1) >>> (32 - PLACE_BITS)
