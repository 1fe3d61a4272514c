// Figures of many requests. Percentiles interpolate linearly between the two nearest values, as NumPy and AIPerf do.

import type { Random } from './random.js'

export const PERCENTILES = [1, 5, 10, 25, 50, 75, 90, 95, 99] as const

export interface Distribution {
  readonly avg: number
  readonly min: number
  readonly max: number
  readonly p1: number
  readonly p5: number
  readonly p10: number
  readonly p25: number
  readonly p50: number
  readonly p75: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly std: number // of a sample; 0 of one value
  readonly count: number
  readonly sum: number
}

export const ascending = (values: ArrayLike<number>): Float64Array => new Float64Array(values).sort()

/** All values of the lists, in order: millions of gaps, which no array of numbers holds well. */
export function joined(lists: readonly ArrayLike<number>[]): Float64Array {
  const all = new Float64Array(lists.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const list of lists) {
    all.set(list, at)
    at += list.length
  }
  return all
}

const SORTED_WHOLE = 1024

/** The values with those at these (ascending) places where a sort would put them: cheaper, where there are millions. */
export function placed(values: ArrayLike<number>, places: readonly number[]): Float64Array {
  const all = new Float64Array(values)
  const place = (start: number, end: number, wanted: readonly number[]): void => {
    if (wanted.length === 0) return
    if (end - start <= SORTED_WHOLE) return void all.subarray(start, end).sort()
    const pivot = all[(start + end) >>> 1]!
    let low = start
    let high = end - 1
    while (low <= high) {
      while (all[low]! < pivot) low++
      while (all[high]! > pivot) high--
      if (low > high) break
      const value = all[low]!
      all[low++] = all[high]!
      all[high--] = value
    }
    place(
      start,
      high + 1,
      wanted.filter((at) => at <= high),
    )
    place(
      low,
      end,
      wanted.filter((at) => at >= low),
    )
  }
  place(0, all.length, places)
  return all
}

/** Of values in ascending order; NaN of none. */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  const place = ((sorted.length - 1) * percent) / 100
  const below = sorted[Math.floor(place)] ?? NaN
  const above = sorted[Math.ceil(place)] ?? NaN
  return below + (above - below) * (place - Math.floor(place))
}

// A spread of many thousand values would not fit on the stack. Of none: an infinity.
export const greatest = (values: readonly number[]): number =>
  values.reduce((most, value) => Math.max(most, value), -Infinity)
export const smallest = (values: readonly number[]): number =>
  values.reduce((least, value) => Math.min(least, value), Infinity)

export function total(values: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]!
  return sum
}
export const mean = (values: ArrayLike<number>): number => total(values) / values.length

/** Undefined of no values. */
export function distribution(values: ArrayLike<number>): Distribution | undefined {
  if (values.length === 0) return undefined
  const places = [0, ...PERCENTILES, 100].map((percent) => ((values.length - 1) * percent) / 100)
  const sorted = placed(
    values,
    places.flatMap((place) => [Math.floor(place), Math.ceil(place)]),
  )
  const sum = total(values)
  const avg = sum / values.length
  let squares = 0
  for (let i = 0; i < values.length; i++) squares += (values[i]! - avg) ** 2
  const at = (percent: number): number => percentile(sorted, percent)
  return {
    avg,
    min: at(0),
    max: at(100),
    p1: at(1),
    p5: at(5),
    p10: at(10),
    p25: at(25),
    p50: at(50),
    p75: at(75),
    p90: at(90),
    p95: at(95),
    p99: at(99),
    std: values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1)),
    count: values.length,
    sum,
  }
}

export interface Interval {
  readonly low: number
  readonly high: number
}

export interface Centre {
  readonly mean: number
  readonly p50: number
  readonly p99: number
}

const blockOf = (numValues: number): number => Math.ceil(Math.sqrt(numValues))

/**
 * Mean, median and p99 of `rounds` samples drawn with replacement, whole blocks of neighbours at a time (the first
 * follows the last). Values in order of time depend on those before them wherever requests queue: drawn one by one they
 * would claim too narrow an interval.
 */
export function resample(
  values: readonly number[],
  rounds: number,
  random: Random,
  blockLength = blockOf(values.length),
): Centre[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!)
  const sorted = Float64Array.from(order, (i) => values[i]!)
  const ranks = new Uint32Array(sorted.length)
  for (const [rank, i] of order.entries()) ranks[i] = rank
  const counts = new Uint32Array(sorted.length)
  const drawn = new Float64Array(sorted.length)
  return Array.from({ length: rounds }, () => {
    counts.fill(0)
    for (let i = 0, at = 0; i < sorted.length; i++, at++) {
      if (i % blockLength === 0) at = Math.floor(random() * sorted.length)
      counts[ranks[at % sorted.length]!]! += 1
    }
    let filled = 0
    let sum = 0
    for (let i = 0; i < sorted.length; i++) {
      const value = sorted[i]!
      for (let k = counts[i]!; k > 0; k--) drawn[filled++] = value
      sum += value * counts[i]!
    }
    return { mean: sum / sorted.length, p50: percentile(drawn, 50), p99: percentile(drawn, 99) }
  })
}

/** Where the middle `confidence` of the values lie. */
export function middle(values: readonly number[], confidence = 0.95): Interval {
  const sorted = ascending(values)
  const outside = ((1 - confidence) / 2) * 100
  return { low: percentile(sorted, outside), high: percentile(sorted, 100 - outside) }
}
