// The embedding: read by rows when tokens come, and not held in memory but for the rows that were read last. What is wrong
// with its values is found at load.

import type { Steps } from '../compute/steps.js'
import type { Checkpoint } from '../model/checkpoint.js'
import { rowsOf } from '../model/tensor-view.js'
import { PIECE_VALUES } from '../packing/packing-memory.js'

const RECENT_BYTES = 4 * 2 ** 20

/** Rows of an embedding: [tokens, hidden]. */
export type Embed = (tokens: ArrayLike<number>) => Float32Array

/** Rows are read anew only when those that came after them take more than RECENT_BYTES. */
export function createEmbedding(checkpoint: Pick<Checkpoint, 'spec' | 'rows'>): Embed {
  const { hidden, embedding } = checkpoint.spec
  const recent = new Map<number, Float32Array>() // by token, the one that was used longest ago first
  const mostRows = Math.floor(RECENT_BYTES / (4 * hidden))

  const rowOf = (token: number): Float32Array => {
    const row = recent.get(token) ?? checkpoint.rows(embedding, token, 1)
    recent.delete(token)
    recent.set(token, row)
    if (recent.size > mostRows) dropOldest()
    return row
  }

  const dropOldest = (): void => {
    const [oldest] = recent.keys()
    if (oldest !== undefined) recent.delete(oldest)
  }

  return (tokens) => {
    const result = new Float32Array(tokens.length * hidden)
    for (let i = 0; i < tokens.length; i++) result.set(rowOf(tokens[i]!), i * hidden)
    return result
  }
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
