// Embedding rows of the target, read on demand; the ones used last stay in memory.

import type { Checkpoint } from '../../lib/model/checkpoint.js'

const MAX_BYTES = 16 * 1024 * 1024

export interface Embeddings {
  /** The token's embedding [hidden]. */
  of(token: number): Float32Array
}

export function createEmbeddings(checkpoint: Checkpoint): Embeddings {
  const { embedding, hidden } = checkpoint.spec
  const capacity = Math.max(64, Math.floor(MAX_BYTES / (hidden * 4)))
  const kept = new Map<number, Float32Array>() // least recently used first
  return {
    of: (token) => {
      const row = kept.get(token) ?? checkpoint.rows(embedding, token, 1)
      kept.delete(token)
      kept.set(token, row)
      const oldest = kept.size > capacity ? kept.keys().next() : undefined
      if (oldest?.done === false) kept.delete(oldest.value)
      return row
    },
  }
}
