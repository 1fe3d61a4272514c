// When output came and how many tokens it was, in numbers side by side: a long replay has millions of chunks.

/** Output that came at once; `numTokens` is undefined where the endpoint does not tell ids. */
export interface OutputChunk {
  readonly atMs: number
  readonly numTokens: number | undefined
}

/** What is read of them; an array of chunks is such a list too. */
export interface OutputChunks extends Iterable<OutputChunk> {
  readonly length: number
  at(index: number): OutputChunk | undefined
  map<T>(use: (chunk: OutputChunk) => T): T[]
}

export interface ChunkList extends OutputChunks {
  push(chunk: OutputChunk): void
}

const FIRST_SIZE = 16
const UNTOLD = -1

export function createChunkList(): ChunkList {
  let times = new Float64Array(FIRST_SIZE)
  let counts = new Int32Array(FIRST_SIZE)
  let length = 0

  const at = (index: number): OutputChunk | undefined => {
    if (index < 0 || index >= length) return undefined
    const count = counts[index] ?? UNTOLD
    return { atMs: times[index] ?? 0, numTokens: count === UNTOLD ? undefined : count }
  }
  const grow = (): void => {
    const [before, countsBefore] = [times, counts]
    times = new Float64Array(length * 2)
    counts = new Int32Array(length * 2)
    times.set(before)
    counts.set(countsBefore)
  }
  function* all(): Generator<OutputChunk> {
    for (let i = 0; i < length; i++) {
      const chunk = at(i)
      if (chunk !== undefined) yield chunk
    }
  }

  return {
    get length() {
      return length
    },
    at,
    map: (use) => Array.from(all(), use),
    [Symbol.iterator]: all,
    push: ({ atMs, numTokens = UNTOLD }) => {
      if (length === times.length) grow()
      times[length] = atMs
      counts[length] = numTokens
      length += 1
    },
  }
}
