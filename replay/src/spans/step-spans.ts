// The spans of the step that gave a certain token of a recorded request: found by when that token became readable.

import type { RequestRecord } from '../../../lib/traffic/request-record.js'
import { scanFiles } from './scan.js'
import type { Span } from './span.js'

export interface TokenPlace {
  readonly requestId: string
  readonly traceId: string
  readonly choice: number
  readonly offset: number
}

export interface StepSpan {
  readonly depth: number // 0 is the step itself
  readonly name: string
  readonly process: string
  readonly startMs: number // from the step's start
  readonly durationMs: number
}

const MAX_SPANS = 40
const SLACK_MS = 5 // clocks of processes, and what is between a step's end and its tokens

/** The step and what is under it, in order of time; empty where it is not recorded. `path` is the trace or its folder. */
export async function stepSpans(path: string, place: TokenPlace): Promise<StepSpan[]> {
  const spans: Span[] = []
  let record: RequestRecord | undefined
  for await (const batch of scanFiles(path)) {
    record ??= batch.records.find(({ id }) => id === place.requestId)
    spans.push(...batch.spans.filter(({ traceId }) => traceId === place.traceId))
  }
  const readableMs = record === undefined ? undefined : readableAt(record, place)
  const step = readableMs === undefined ? undefined : stepAt(spans, readableMs)
  return step === undefined ? [] : under(step, spans).slice(0, MAX_SPANS)
}

/** When a token became readable, since 1970. */
function readableAt({ arrivalUnixMs, choices }: RequestRecord, { choice, offset }: TokenPlace): number | undefined {
  const { chunks, replayedTokens = 0 } = choices[choice] ?? { chunks: [] }
  if (offset < replayedTokens) return undefined // of a run whose times are not in this record
  let numTokens = replayedTokens
  for (const [atMs, count] of chunks) {
    numTokens += count
    if (numTokens > offset) return arrivalUnixMs + atMs
  }
  return undefined // the recording had ended before it
}

/** The last step that had ended when the token was there. */
function stepAt(spans: readonly Span[], readableMs: number): Span | undefined {
  return spans
    .filter(({ name, endMs }) => /\bstep\b/i.test(name) && endMs <= readableMs + SLACK_MS)
    .sort((a, b) => b.endMs - a.endMs || a.startMs - b.startMs)[0]
}

function under(step: Span, spans: readonly Span[]): StepSpan[] {
  const walk = (span: Span, depth: number): StepSpan[] => [
    {
      depth,
      name: span.name,
      process: span.process,
      startMs: span.startMs - step.startMs,
      durationMs: span.endMs - span.startMs,
    },
    ...spans
      .filter(({ parentSpanId }) => parentSpanId === span.spanId)
      .sort((a, b) => a.startMs - b.startMs)
      .flatMap((child) => walk(child, depth + 1)),
  ]
  return walk(step, 0)
}
