// The spans of the step that gave a certain token of a recorded request: found by when that token became readable. A
// step of several requests lies in the trace of one of them and links to the others.

import type { RequestRecord } from '../../../lib/traffic/request-record.js'
import { findRequest, keyOf, type FoundRequest } from '../show/find-request.js'
import type { Span } from './span.js'

export interface TokenPlace {
  readonly requestId: string
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

const STEP = 'router.step'
const MAX_SPANS = 40
const SLACK_MS = 5 // clocks of processes, and what is between a step's end and its tokens

/** The step and what is under it, in order of time; empty where it is not recorded. `path` is the trace or its folder. */
export async function stepSpans(path: string, place: TokenPlace): Promise<StepSpan[]> {
  const found = await findRequest(path, place.requestId)
  const readableMs = found.record === undefined ? undefined : readableAt(found.record, place)
  const step = readableMs === undefined ? undefined : stepAt(stepsOf(found), readableMs)
  return step === undefined ? [] : under(step, found.spans).slice(0, MAX_SPANS)
}

/** A trace may hold several requests: a step is for those whose span it is below or links to. */
function stepsOf({ spans, root }: FoundRequest): readonly Span[] {
  const steps = spans.filter(({ name }) => name === STEP)
  if (root === undefined) return steps
  const key = keyOf(root)
  return steps.filter(
    ({ traceId, parentSpanId = '', links }) =>
      keyOf({ traceId, spanId: parentSpanId }) === key || links.some((link) => keyOf(link) === key),
  )
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
function stepAt(steps: readonly Span[], readableMs: number): Span | undefined {
  return steps
    .filter(({ endMs }) => endMs <= readableMs + SLACK_MS)
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
      .filter(({ traceId, parentSpanId }) => traceId === span.traceId && parentSpanId === span.spanId)
      .sort((a, b) => a.startMs - b.startMs)
      .flatMap((child) => walk(child, depth + 1)),
  ]
  return walk(step, 0)
}
