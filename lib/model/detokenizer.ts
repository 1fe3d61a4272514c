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

export function createDetokenizer(tokenizer: ModelTokenizer): Detokenizer {
  return tokenizer.isByteLevel ? streamingBytes(tokenizer) : windowed(tokenizer)
}

function streamingBytes(tokenizer: ModelTokenizer): Detokenizer {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return {
    push: (token) => (tokenizer.isSpecial(token) ? '' : decoder.decode(tokenizer.tokenBytes(token), { stream: true })),
    flush: () => decoder.decode(),
  }
}

const MAX_HELD = 16 // tokens that one character may take

/** For tokenizers whose decoding looks at neighbours: decodes a window before and after the token and takes the difference. */
function windowed(tokenizer: ModelTokenizer): Detokenizer {
  let settled: number[] = [] // context that was emitted
  let held: number[] = []
  const delta = (): string => tokenizer.decode([...settled, ...held]).slice(tokenizer.decode(settled).length)
  const settle = (): string => {
    const text = delta()
    settled = [...settled, ...held].slice(-MAX_HELD)
    held = []
    return text
  }
  return {
    push: (token) => {
      held.push(token)
      return delta().endsWith('\ufffd') && held.length < MAX_HELD ? '' : settle()
    },
    flush: () => (held.length === 0 ? '' : settle()),
  }
}
