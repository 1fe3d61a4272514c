// What the commands print: results on stdout, everything else on stderr; progress only where a person watches.

import cliProgress from 'cli-progress'
import { openShareBar, type Bar } from '../lib/config/load-bar.js'
import { printable } from '../replay/src/printable.js'

export interface Progress {
  step(by?: number): void
  /** More to do than was known. */
  grow(by: number): void
  stop(): void
}

/** One line of a result. */
export const print = (line: string): void => void process.stdout.write(`${line}\n`)

/** The result for machines: stdout is exactly this value. */
export const printJson = (value: unknown): void => print(JSON.stringify(value))

/** A word to the person, beside the result. */
export const notify = (line: string): void => void process.stderr.write(`banyan: ${printable(line)}\n`)

/** A bar on a terminal, nothing elsewhere. */
export function createProgress(label: string, total: number): Progress {
  if (!process.stderr.isTTY) return { step: () => undefined, grow: () => undefined, stop: () => undefined }
  const bar = new cliProgress.SingleBar({
    format: `${label} {bar} {value}/{total}`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: true,
  })
  bar.start(total, 0)
  return {
    step: (by = 1) => bar.increment(by),
    grow: (by) => bar.setTotal(bar.getTotal() + by),
    stop: () => bar.stop(),
  }
}

/** A bar of shares with a text beside it, on a terminal; nothing elsewhere, or where it is not wanted. */
export const createShareBar = (isWanted: boolean): Bar =>
  isWanted && process.stderr.isTTY ? openShareBar(process.stderr) : { update: () => undefined, stop: () => undefined }

/** Columns as wide as their widest cell, two spaces apart. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
