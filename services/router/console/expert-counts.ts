// Rows per expert as attention workers count them, from the moment that a console began to look. A worker's figures are
// totals since it started, modulo 2^32: what is shown is by how much they rose.

export interface ExpertCounts {
  /** Takes in what a worker reports: [layers, columns]. */
  note(worker: string, columns: number, totals: Int32Array): void
  /** Rises with every report. */
  readonly version: number
  readonly columns: number
  /** Since the first report of each worker. */
  readonly sums: Float64Array
}

export function createExpertCounts(): ExpertCounts {
  const last = new Map<string, Int32Array>() // by worker
  let sums = new Float64Array(0)
  let columns = 0
  let version = 0
  return {
    note: (worker, width, totals) => {
      const before = last.get(worker)
      last.set(worker, totals)
      if (sums.length !== totals.length) sums = new Float64Array(totals.length)
      columns = width
      if (before?.length !== totals.length) return
      const rises = totals.map((total, i) => total - before[i]!)
      if (rises.some((rise) => rise < 0)) return // the worker is a new one under the same id
      for (let i = 0; i < rises.length; i++) sums[i]! += rises[i]!
      version += 1
    },
    get version() {
      return version
    },
    get columns() {
      return columns
    },
    get sums() {
      return sums
    },
  }
}
