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

/** At least three digits: 1234, 123, 12.3, 1.23, 0.0123. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const digits = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)))
  return value.toFixed(Math.min(4, Math.max(0, 2 - digits)))
}
