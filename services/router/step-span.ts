// The span of a step. A step serves many requests, and a span has one parent: the first request whose trace is sampled,
// else the first. The others are linked, so that each request leads to its steps. Where nobody keeps any, there is none.

import type { Span, Tracer } from '@opentelemetry/api'
import { inHopSpan, isSampled, spanContextOf } from '../../lib/tracing/spans.js'
import type { Rows } from './sequence.js'

/** Runs a step inside its span. */
export function inStepSpan<T>(
  tracer: Tracer,
  planned: readonly Rows[],
  run: (traceparent: string | undefined, span: Span) => Promise<T>,
): Promise<T> {
  const parents = planned.map(({ sequence }) => sequence.traceparent)
  const parent = parents.find(isSampled) ?? parents[0]
  return inHopSpan(tracer, 'router.step', parent, async (traceparent, span) => {
    if (span.isRecording()) linkOthers(span, parents, parent)
    return run(traceparent, span)
  })
}

function linkOthers(span: Span, parents: readonly (string | undefined)[], parent: string | undefined): void {
  for (const other of new Set(parents)) {
    const context = other === parent ? undefined : spanContextOf(other)
    if (context !== undefined) span.addLink({ context })
  }
}
