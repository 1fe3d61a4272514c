// How far a worker's load has come, by the sizes that its share of the model has in memory.

export interface LoadProgress {
  readonly bytes: number
  readonly totalBytes: number
  readonly experts: number
  readonly totalExperts: number
}

export type OnProgress = (progress: LoadProgress) => void

export interface LoadCount {
  /** So much more is loaded. */
  add(bytes: number, experts?: number): void
}

/** Counts up to a whole, telling each time; says at once that nothing of it is there yet. */
export function countLoad(whole: { readonly bytes: number; readonly experts: number }, tell: OnProgress): LoadCount {
  let [bytes, experts] = [0, 0]
  const report = (): void => tell({ bytes, totalBytes: whole.bytes, experts, totalExperts: whole.experts })
  report()
  return {
    add: (more, moreExperts = 0) => {
      bytes += more
      experts += moreExperts
      report()
    },
  }
}
