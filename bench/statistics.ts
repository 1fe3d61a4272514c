// Median and spread of repeated measurements. Few repetitions on a noisy machine: no means, no deviations.

export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Middle value, of an even count the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? NaN
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? NaN) + upper) / 2 : upper
}

/** The smallest value that at least this share of the values do not exceed; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN
}

export interface Interval {
  readonly low: number
  readonly high: number
}

/**
 * Where the median that the values were drawn from lies, with at least this confidence: from the values' order alone,
 * whatever their distribution. Of fewer than six values the whole range, which covers less than 95 %.
 */
export function medianInterval(values: readonly number[], confidence = 0.95): Interval {
  const sorted = [...values].sort((a, b) => a - b)
  const numOutside = Math.max(0, numBelowInterval(sorted.length, confidence) - 1)
  return { low: sorted[numOutside] ?? NaN, high: sorted[sorted.length - 1 - numOutside] ?? NaN }
}

/** The greatest k for which k or more of `count` values lie on either side of the median with this confidence. */
function numBelowInterval(count: number, confidence: number): number {
  let logTerm = -count * Math.LN2 // of the binomial distribution for a half: powers of it soon leave a double's range
  let outside = 0
  for (let k = 0; k < count; k++) {
    outside += Math.exp(logTerm)
    if (outside > (1 - confidence) / 2) return k
    logTerm += Math.log((count - k) / (k + 1))
  }
  return 0
}

export const summarise = (values: readonly number[]): Summary => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
})

/** Per round `ours / theirs`: what both sides shared of that round's noise cancels. */
export const ratios = (ours: readonly number[], theirs: readonly number[]): number[] =>
  ours.slice(0, theirs.length).map((value, round) => value / (theirs[round] ?? NaN))

/** `median (min – max)`, three digits or more. */
export const formatSummary = ({ median: middle, min, max }: Summary): string =>
  `${formatNumber(middle)} (${formatNumber(min)} – ${formatNumber(max)})`

/** `median [low, high]`: the median and where it lies with 95 % confidence. */
export function formatMedian(values: readonly number[]): string {
  const { low, high } = medianInterval(values)
  return `${formatNumber(median(values))} [${formatNumber(low)}, ${formatNumber(high)}]`
}

/** At least three digits: 1234, 123, 12.3, 1.23, 0.0123. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const digits = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)))
  return value.toFixed(Math.min(4, Math.max(0, 2 - digits)))
}
