// The report for a terminal: the table, what the whole run came to, how it was sent, and what each figure means.

import type { Figure, Summary } from '../summary.js'
import { DEFINITIONS, DISTRIBUTIONS, TOTALS, type MetricName } from './names.js'

const COLUMNS = ['avg', 'min', 'max', 'p50', 'p90', 'p95', 'p99', 'std'] as const
const ONLY_WHEN_LATE = new Set(['time_to_first_token_from_send', 'request_latency_from_send'])
const LATE_MS = 1 // from here on the two ways of counting differ visibly

export function reportText(summary: Summary): string {
  const { figures, failures, notes } = summary
  const isLate = (figures.schedule_lag?.p99 ?? 0) > LATE_MS
  const shown = DISTRIBUTIONS.filter(({ tag }) => isLate || !ONLY_WHEN_LATE.has(tag))
  return [
    ...columns([['', ...COLUMNS], ...shown.flatMap((row) => distributionRow(row, figures[row.tag]))]),
    '',
    ...columns(TOTALS.flatMap((row) => totalRow(row, figures[row.tag]))),
    ...(failures.length === 0 ? [] : ['', 'errors']),
    ...columns(failures.map(({ kind, count, message }) => [`  ${kind}`, String(count), message])),
    ...(notes.length === 0 ? [] : ['', ...notes.map((note) => `note: ${note}`)]),
    '',
    ...columns(DEFINITIONS.map(([word, meaning]) => [word, meaning])),
  ].join('\n')
}

const distributionRow = ({ short }: MetricName, figure: Figure | undefined): string[][] =>
  figure === undefined || short === undefined
    ? []
    : [[withUnit(short, figure.unit), ...COLUMNS.map((column) => formatFigure(figure[column]))]]

function totalRow({ short, tag }: MetricName, figure: Figure | undefined): string[][] {
  if (figure === undefined || short === undefined) return []
  if (figure.avg === 0 && /^(cancelled|in_flight|osl_mismatch)/.test(tag)) return []
  return [[short, formatFigure(figure.avg), figure.unit]]
}

const withUnit = (short: string, unit: string): string => (unit === 'ms' ? `${short} (ms)` : short)

/** Three digits or more, no exponents. */
export function formatFigure(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return '-'
  if (Number.isInteger(value)) return String(value)
  const digits = Math.floor(Math.log10(Math.abs(value)))
  return value.toFixed(Math.min(3, Math.max(0, 2 - digits)))
}

const isNumber = (cell: string): boolean => /^(-|-?\d[\d.]*%?)$/.test(cell)

/** Cells two spaces apart; words are left-aligned, numbers right-aligned, and a last word may be as long as it likes. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, i) => {
      const isLastWord = i === row.length - 1 && !isNumber(cell)
      widths[i] = Math.max(widths[i] ?? 0, isLastWord ? 0 : cell.length)
    })
  }
  return rows.map((row) =>
    row
      .map((cell, i) => (isNumber(cell) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}
