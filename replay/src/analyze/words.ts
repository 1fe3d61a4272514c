// Numbers as people read them.

const UNITS: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
  [1, 'ms'],
  [0.001, 'µs'],
]

/** Three digits that matter, never an exponent. */
export function short(value: number): string {
  if (value === 0 || Number.isInteger(value)) return String(value)
  const size = Math.abs(value)
  return size >= 100
    ? value.toFixed(0)
    : size >= 10
      ? value.toFixed(1)
      : size >= 1
        ? value.toFixed(2)
        : value.toPrecision(2)
}

/** A span of time in its largest unit that leaves something before the point. */
export function duration(ms: number): string {
  const [size, unit] = UNITS.find(([least]) => Math.abs(ms) >= least) ?? [1, 'ms']
  return `${short(ms / size)} ${unit}`
}

export const percent = (ratio: number): string => `${(ratio * 100).toFixed(1)} %`

const BARS = '▁▂▃▄▅▆▇█'

/** One bar per value; 0 is a space. */
export function sparkline(values: readonly number[]): string {
  const most = Math.max(1, ...values)
  return values
    .map((value) => (value === 0 ? ' ' : (BARS[Math.ceil((value / most) * BARS.length) - 1] ?? ' ')))
    .join('')
}
