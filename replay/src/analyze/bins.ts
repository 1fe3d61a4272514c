// Values counted in bins and in windows.

export interface Bin {
  readonly from: number
  readonly to: number // the next bin's from
  readonly count: number
}

/** Bins of powers of two, from the smallest value to the largest; what is below 1 is the first. */
export function powerBins(values: readonly number[]): Bin[] {
  const exponentOf = (value: number): number => (value < 1 ? -1 : Math.floor(Math.log2(value)))
  const counts = new Map<number, number>()
  for (const value of values) counts.set(exponentOf(value), (counts.get(exponentOf(value)) ?? 0) + 1)
  if (counts.size === 0) return []
  const [first, last] = [Math.min(...counts.keys()), Math.max(...counts.keys())]
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const exponent = first + i
    return { from: exponent < 0 ? 0 : 2 ** exponent, to: 2 ** (exponent + 1), count: counts.get(exponent) ?? 0 }
  })
}

/** So many bins of equal width from 0 to the end, which belongs to the last. */
export function evenBins(values: readonly number[], end: number, numBins: number): Bin[] {
  const width = end / numBins || 1
  const counts = new Array<number>(numBins).fill(0)
  for (const value of values) {
    const bin = Math.min(numBins - 1, Math.floor(value / width))
    counts[bin] = (counts[bin] ?? 0) + 1
  }
  return counts.map((count, i) => ({ from: i * width, to: (i + 1) * width, count }))
}

/** The most values (ascending) that any window of this width holds. */
export function busiest(ascending: readonly number[], width: number): number {
  let most = 0
  let start = 0
  for (let end = 0; end < ascending.length; end++) {
    while ((ascending[end] ?? 0) - (ascending[start] ?? 0) >= width) start++
    most = Math.max(most, end - start + 1)
  }
  return most
}
