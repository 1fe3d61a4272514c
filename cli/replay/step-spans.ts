// The spans of the step that gave the first token that differs, where the recording's spans lie beside it.

import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { stepSpans, type Difference, type Trace } from '../../replay/src/index.js'

const DIGITS = 2

/** Lines to show; none where there are no spans of that request. */
export async function spansOfDifference(path: string, trace: Trace, difference: Difference): Promise<string[]> {
  const { requestId, choice, offset } = difference
  const isTraced = trace.requests.some(({ id, recorded }) => id === requestId && recorded?.traceId !== undefined)
  if (!isTraced || offset === undefined) return []
  const folder = statSync(path).isDirectory() ? path : dirname(path)
  const spans = await stepSpans(folder, { requestId, choice, offset })
  const lines = spans.map(
    ({ depth, name, process, startMs, durationMs }) =>
      `  ${'  '.repeat(depth + 1)}${name} (${process}) +${startMs.toFixed(DIGITS)} ms, ${durationMs.toFixed(DIGITS)} ms`,
  )
  return lines.length === 0 ? [] : ['  spans of that step:', ...lines]
}
