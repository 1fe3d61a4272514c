// The committed tokens of each sequence, as the drafter knows them.
//
// Invariants
//   L1  Memory is bounded: above the limits the least recently used sequences go first.
//   L2  What is held is a prefix of what the router committed; tokens that came twice are stored once.

export interface LedgerLimits {
  readonly maxSequences: number
  readonly maxTokens: number // of all sequences together
}

interface Row {
  tokens: Int32Array // [capacity]
  length: number
}

const MIN_CAPACITY = 256

/** Sequences in the order of their last use; `onEvict` hears of each one that is dropped. */
export class TokenLedger {
  private readonly rows = new Map<string, Row>() // least recently used first
  private readonly limits: LedgerLimits
  private readonly onEvict: (sequence: string) => void
  private total = 0

  constructor(limits: LedgerLimits, onEvict: (sequence: string) => void) {
    this.limits = limits
    this.onEvict = onEvict
  }

  get size(): number {
    return this.rows.size
  }

  /** Of all sequences. */
  get numTokens(): number {
    return this.total
  }

  /** The tokens held, empty for an unknown sequence; a view that the next `append` may outdate. */
  tokens(sequence: string): Int32Array {
    const row = this.rows.get(sequence)
    return row === undefined ? new Int32Array(0) : row.tokens.subarray(0, row.length)
  }

  /** Adds tokens at the end of a sequence, which becomes the most recently used one. */
  append(sequence: string, tokens: Int32Array): void {
    const row = this.rows.get(sequence) ?? { tokens: new Int32Array(MIN_CAPACITY), length: 0 }
    this.rows.delete(sequence)
    this.rows.set(sequence, row)
    const length = row.length + tokens.length
    if (length > row.tokens.length) row.tokens = grown(row.tokens, length)
    row.tokens.set(tokens, row.length)
    row.length = length
    this.total += tokens.length
    this.evict()
  }

  drop(sequence: string): void {
    const row = this.rows.get(sequence)
    if (row === undefined) return
    this.rows.delete(sequence)
    this.total -= row.length
    this.onEvict(sequence)
  }

  private evict(): void {
    for (const sequence of this.rows.keys()) {
      const isFull = this.rows.size > this.limits.maxSequences || this.total > this.limits.maxTokens
      if (!isFull || this.rows.size === 1) return
      this.drop(sequence)
    }
  }
}

function grown(tokens: Int32Array, length: number): Int32Array {
  const result = new Int32Array(Math.max(length, tokens.length * 2))
  result.set(tokens)
  return result
}
