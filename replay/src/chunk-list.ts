// When output came and how many tokens it was, in numbers side by side: a long replay has millions of chunks.

/** Output that came at once; `numTokens` is undefined where the endpoint does not tell ids. */
export interface OutputChunk {
  readonly atMs: number
  readonly numTokens: number | undefined
}

/** What is read of them. */
export interface OutputChunks {
  readonly length: number
  readonly times: Float64Array
  readonly counts: Int32Array // tokens of each; UNTOLD where the endpoint does not tell ids
}

export interface ChunkList extends OutputChunks {
  push(chunk: OutputChunk): void
}

const FIRST_SIZE = 16
const UNTOLD = -1

export function createChunkList(chunks: readonly OutputChunk[] = []): ChunkList {
  let times = new Float64Array(FIRST_SIZE)
  let counts = new Int32Array(FIRST_SIZE)
  let length = 0

  const grow = (): void => {
    const [before, countsBefore] = [times, counts]
    times = new Float64Array(length * 2)
    counts = new Int32Array(length * 2)
    times.set(before)
    counts.set(countsBefore)
  }

  const list: ChunkList = {
    get length() {
      return length
    },
    get times() {
      return times.subarray(0, length)
    },
    get counts() {
      return counts.subarray(0, length)
    },
    push: ({ atMs, numTokens = UNTOLD }) => {
      if (length === times.length) grow()
      times[length] = atMs
      counts[length] = numTokens
      length += 1
    },
  }
  for (const chunk of chunks) list.push(chunk)
  return list
}
