// Numbers and texts as the page writes them.

const UNITS: readonly (readonly [size: number, unit: string])[] = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
]

/** 1234 → 1.23k; small ones with at most three digits. */
export function formatCount(value: number): string {
  const [size, unit] = UNITS.find(([least]) => Math.abs(value) >= least) ?? [1, '']
  return `${significant(value / size)}${unit}`
}

/** Milliseconds, as seconds from ten thousand on. */
export function formatMs(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  return value >= 10_000 ? `${significant(value / 1_000)} s` : `${significant(value)} ms`
}

export const formatPercent = (share: number): string => `${significant(share * 100)} %`

/** Three digits at most, none invented. */
function significant(value: number): string {
  const size = Math.abs(value)
  if (size >= 100 || Number.isInteger(value)) return value.toFixed(0)
  return value.toFixed(size >= 10 ? 1 : 2)
}

/** 1 step, 2 steps. */
export const plural = (count: number, one: string): string => `${formatCount(count)} ${one}${count === 1 ? '' : 's'}`

/** A token's text with what cannot be seen made visible, cut to `length` characters. */
export function visibleToken(text: string, length: number): string {
  const visible = text.replaceAll('\n', '⏎').replaceAll('\t', '⇥').replaceAll(' ', '·')
  const characters = [...visible]
  return characters.length <= length ? visible : `${characters.slice(0, length - 1).join('')}…`
}

/** Ids 0, 1, 2, 5 → `0–2, 5`. */
export function formatRanges(ids: readonly number[]): string {
  const sorted = [...ids].sort((a, b) => a - b)
  const starts = sorted.filter((id, i) => id - 1 !== sorted[i - 1])
  const ends = sorted.filter((id, i) => id + 1 !== sorted[i + 1])
  return starts.map((start, i) => (start === ends[i] ? `${start}` : `${start}–${ends[i] ?? start}`)).join(', ')
}
