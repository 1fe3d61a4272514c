// Log lines on stderr: JSON for machines, one short line for a person at a terminal. Prompt text never goes in.

import pino from 'pino'
import type { Logger } from '../config/service.js'

export interface LoggerOptions {
  readonly level: string // a pino level, or 'silent'
  readonly id: string // of the process, in every line
  readonly isPretty: boolean // one plain line for a terminal instead of JSON
  readonly write: (line: string) => void // gets whole lines
}

/** A pino logger that writes whole lines through `write`. */
export function createLogger({ level, id, isPretty, write }: LoggerOptions): Logger {
  const stream = { write: isPretty ? (line: string) => write(prettyLine(line)) : write }
  return pino({ level, base: { id }, timestamp: pino.stdTimeFunctions.isoTime }, stream)
}

/** '22:33:49.123 warn attention-0: message key=value' from one of pino's JSON lines. */
export function prettyLine(line: string): string {
  const { time, level, id, msg, ...fields } = JSON.parse(line) as Record<string, unknown> // pino's own output
  const label = typeof level === 'number' ? (pino.levels.labels[level] ?? '') : ''
  const clock = typeof time === 'string' ? time.slice(11, 23) : ''
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return `${[clock, label, `${String(id)}:`, String(msg), ...rest].join(' ')}\n`
}
