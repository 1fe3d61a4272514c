// The k best of many candidates without sorting them all: a bounded heap whose root is the worst one kept.
// One order everywhere: higher score first, ties by lower id.

/** Permutes ids[0 … count) so that its first k are the best ones, best first; 0 < k ≤ count. O(count + k log k), usually. */
export function selectBest(ids: Int32Array, count: number, k: number, scores: Float64Array | Float32Array): void {
  const isWorse = (a: number, b: number): boolean => {
    const scoreA = scores[a]!
    const scoreB = scores[b]!
    return scoreA < scoreB || (scoreA === scoreB && a > b)
  }
  /** Restores the heap below `node`; the heap is ids[0 … size). */
  const sift = (node: number, size: number): void => {
    const id = ids[node]!
    for (let child = 2 * node + 1; child < size; child = 2 * node + 1) {
      if (child + 1 < size && isWorse(ids[child + 1]!, ids[child]!)) child++
      if (!isWorse(ids[child]!, id)) break
      ids[node] = ids[child]!
      node = child
    }
    ids[node] = id
  }
  const swapWithRoot = (i: number, size: number): void => {
    const id = ids[i]!
    ids[i] = ids[0]!
    ids[0] = id
    sift(0, size)
  }

  for (let node = (k >> 1) - 1; node >= 0; node--) sift(node, k)
  for (let i = k; i < count; i++) if (isWorse(ids[0]!, ids[i]!)) swapWithRoot(i, k)
  for (let end = k - 1; end > 0; end--) swapWithRoot(end, end)
}
