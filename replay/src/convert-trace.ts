// A trace in another format: reads what lies at a path, gives the lines of the other format and what it cannot hold.

import { readTrace, type ReadOptions } from './read-trace.js'
import type { RequestRecord } from '../../lib/traffic/request-record.js'
import { scanFiles } from './spans/scan.js'
import type { Span } from './spans/span.js'
import type { SkippedLine } from './trace.js'
import { TraceError } from './trace-error.js'
import { writeChrome } from './writers/chrome.js'
import { WRITERS } from './writers/index.js'

export const TARGETS = [...Object.keys(WRITERS), 'chrome'] as const

export interface Converted {
  readonly from: string
  readonly to: string
  readonly numRequests: number
  readonly numSpans: number // of Chrome's alone
  readonly lines: Iterable<string>
  readonly losses: readonly string[]
  readonly notices: readonly string[]
  readonly skipped: readonly SkippedLine[]
}

/** The lines are made as they are taken. */
export async function convertTrace(path: string, to: string, options: ReadOptions = {}): Promise<Converted> {
  if (to === 'chrome') return toChrome(path, options)
  const write = WRITERS[to]
  if (write === undefined)
    throw new TraceError('invalid_argument', `--to: want one of ${TARGETS.join(', ')}, found ${JSON.stringify(to)}`)
  const trace = await readTrace(path, { ...options, keepsRecords: to === 'banyan' })
  const { format: from, requests, notices = [], skipped } = trace
  return { from, to, numRequests: requests.length, numSpans: 0, notices, skipped, ...write(trace) }
}

/** Spans and records as they are; of other formats the requests. */
async function toChrome(path: string, options: ReadOptions): Promise<Converted> {
  const spans: Span[] = []
  const records: RequestRecord[] = []
  for await (const batch of scanFiles(path)) {
    for (const span of batch.spans) spans.push(span)
    for (const record of batch.records) records.push(record)
  }
  const base = { to: 'chrome', numSpans: spans.length, losses: ['contents, parameters and hashes'] }
  if (spans.length + records.length > 0) {
    const from = records.length > 0 ? 'banyan' : 'otlp'
    const lines = writeChrome({ spans, records })
    return { ...base, from, numRequests: records.length, lines, notices: [], skipped: [] }
  }
  const { format: from, requests, startUnixMs = 0, notices = [], skipped } = await readTrace(path, options)
  const lines = writeChrome({ spans, records, requests, startUnixMs })
  return { ...base, from, numRequests: requests.length, lines, notices, skipped }
}
