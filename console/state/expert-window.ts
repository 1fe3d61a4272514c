// Rows per expert over the last half minute: what the router reported, added up; older reports fall out.

import type { ExpertRows } from '../../lib/console/frame.js'

const WINDOW_MS = 30_000
const MAX_REPORTS = 64

export interface ExpertWindow {
  readonly columns: number
  readonly reports: readonly { readonly timeMs: number; readonly rows: readonly number[] }[]
  readonly sums: readonly number[] // [layers, columns]
}

export const NO_EXPERTS: ExpertWindow = { columns: 0, reports: [], sums: [] }

/** The window at `timeMs`, with a report if one came. */
export function slideWindow(window: ExpertWindow, timeMs: number, news: ExpertRows | undefined): ExpertWindow {
  const isSameModel = news === undefined || news.columns === window.columns
  const kept = isSameModel ? window.reports.filter((report) => timeMs - report.timeMs < WINDOW_MS) : []
  if (news === undefined && kept.length === window.reports.length) return window
  const reports = news === undefined ? kept : [...kept, { timeMs, rows: news.rows }].slice(-MAX_REPORTS)
  const size = Math.max(0, ...reports.map(({ rows }) => rows.length))
  const sums = new Array<number>(size).fill(0)
  for (const { rows } of reports) rows.forEach((count, i) => (sums[i] = (sums[i] ?? 0) + count))
  return { columns: news?.columns ?? window.columns, reports, sums }
}

/** How uneven a layer's load is: its busiest expert over the mean of all; 1 is even, 0 without rows. */
export function imbalance(rows: readonly number[]): number {
  const total = rows.reduce((sum, count) => sum + count, 0)
  return total === 0 ? 0 : (Math.max(...rows) * rows.length) / total
}
