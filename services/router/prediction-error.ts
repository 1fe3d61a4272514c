// How far predictions were from what happened: median and 90th percentile of |error| / actual over the last steps.

const WINDOW = 512

export interface ErrorSummary {
  readonly median: number // NaN while there is none
  readonly p90: number
  readonly count: number // of all predictions, not only of the window
}

export interface ErrorWindow {
  add(predicted: number, actual: number): void
  summary(): ErrorSummary
}

export function createErrorWindow(): ErrorWindow {
  const errors = new Float64Array(WINDOW)
  let count = 0
  return {
    add: (predicted, actual) => {
      if (!(actual > 0) || !Number.isFinite(predicted)) return
      errors[count % WINDOW] = Math.abs(predicted - actual) / actual
      count += 1
    },
    summary: () => {
      const sorted = errors.slice(0, Math.min(count, WINDOW)).sort()
      const at = (share: number): number =>
        sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN
      return { median: at(0.5), p90: at(0.9), count }
    },
  }
}
