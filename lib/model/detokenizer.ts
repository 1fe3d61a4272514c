// Incremental detokenising: text as tokens come, never half a character.
//
// Invariants
//   DT1  The concatenation of all deltas and the flush equals decoding all tokens at once.
//   DT2  Work per token is bounded.

import type { ModelTokenizer } from './tokenizer.js'

export interface Detokenizer {
  /** The text that this token completes; '' while a character is incomplete. */
  push(token: number): string
  /** What is left at the end; an incomplete character becomes U+FFFD. */
  flush(): string
}

export function createDetokenizer(tokenizer: Pick<ModelTokenizer, 'textStream' | 'piece'>): Detokenizer {
  const stream = tokenizer.textStream()
  return {
    push: (token) => {
      const piece = tokenizer.piece(token)
      return piece === undefined ? '' : stream.push(piece)
    },
    flush: () => stream.flush(),
  }
}
