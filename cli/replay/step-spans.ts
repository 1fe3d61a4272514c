// The spans of the step that gave the first token that differs, where the recording's spans lie beside it.

import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { stepSpans, type Difference, type Trace } from '../../replay/src/index.js'

const DIGITS = 2

/** Lines to show; none where there are no spans of that request. */
export async function spansOfDifference(path: string, trace: Trace, difference: Difference): Promise<string[]> {
  const { requestId, choice, offset } = difference
  const traceId = trace.requests.find(({ id }) => id === requestId)?.recorded?.traceId
  if (traceId === undefined || offset === undefined) return []
  const spans = await stepSpans(statSync(path).isDirectory() ? path : dirname(path), {
    requestId,
    traceId,
    choice,
    offset,
  })
  return spans.map(({ depth, name, process, startMs, durationMs }, i) => {
    const head = i === 0 ? '  spans of that step:\n' : ''
    return `${head}  ${'  '.repeat(depth + 1)}${name} (${process}) +${startMs.toFixed(DIGITS)} ms, ${durationMs.toFixed(DIGITS)} ms`
  })
}
