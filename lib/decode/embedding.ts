// The embedding: read by rows when tokens come, never held in memory. What is wrong with its values is found at load.

import type { Steps } from '../compute/steps.js'
import type { Checkpoint } from '../model/checkpoint.js'
import { rowsOf } from '../model/tensor-view.js'

const PIECE_VALUES = 256 * 1024

/** Rows of the embedding: [tokens, hidden]. */
export function embed(checkpoint: Checkpoint, tokens: ArrayLike<number>): Float32Array {
  const { hidden, embedding } = checkpoint.spec
  const result = new Float32Array(tokens.length * hidden)
  for (let i = 0; i < tokens.length; i++) result.set(checkpoint.rows(embedding, tokens[i]!, 1), i * hidden)
  return result
}

/** Reads an embedding through that no LM head is read from. Throws `invalid_argument` for a value that is not finite. */
export function* checkEmbedding(checkpoint: Checkpoint): Steps<void> {
  const { hidden, embedding, lmHead } = checkpoint.spec
  if (lmHead.weight.name === embedding.name) return
  const rows = rowsOf(embedding)
  const step = Math.max(1, Math.floor(PIECE_VALUES / hidden))
  for (let first = 0; first < rows; first += step) {
    checkpoint.rows(embedding, first, Math.min(step, rows - first))
    yield
  }
}
