// Merges that could be made in one piece of text, the earliest rank first, of equal ones the leftmost: a binary heap of
// numbers, rank and place in one.

const PLACES = 2 ** 28

export interface MergeQueue {
  push(rank: number, place: number): void
  /** The next merge, to ask `rankOf` and `placeOf` about, or -1 when there is none left. */
  pop(): number
}

export const rankOf = (merge: number): number => Math.floor(merge / PLACES)
export const placeOf = (merge: number): number => merge % PLACES

export function createMergeQueue(): MergeQueue {
  const heap: number[] = []

  const push = (key: number): void => {
    let at = heap.push(key) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (heap[parent]! <= key) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = key
  }

  const sink = (key: number): void => {
    const size = heap.length
    let at = 0
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && heap[child + 1]! < heap[child]!) child += 1
      if (heap[child]! >= key) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = key
  }

  return {
    push: (rank, place) => push(rank * PLACES + place),
    pop: () => {
      const last = heap.pop()
      if (last === undefined) return -1
      const [first] = heap
      if (first === undefined) return last
      sink(last)
      return first
    },
  }
}
