// Requests that fail or are slow are exported even where the sampler did not choose them: that is known at their end, so
// their spans are kept until then. Only the router can do it: other processes record what was chosen at the start.
//
// Invariants
//   K1  What the sampler chose is none of this: it is exported as ever.
//   K2  At most MAX_STEPS spans of steps are kept, the latest, whichever requests they served.

import { SpanStatusCode, SpanKind, TraceFlags, type Context } from '@opentelemetry/api'
import { hrTimeToMilliseconds } from '@opentelemetry/core'
import { SamplingDecision, type ReadableSpan, type Sampler, type SpanProcessor } from '@opentelemetry/sdk-trace-base'

const MAX_STEPS = 4096

/** Records what `sampler` would drop, unsampled: processes further on drop it as before. */
export function recordingAll(sampler: Sampler): Sampler {
  return {
    shouldSample: (...args) => {
      const result = sampler.shouldSample(...args)
      return result.decision === SamplingDecision.NOT_RECORD ? { ...result, decision: SamplingDecision.RECORD } : result
    },
    toString: () => `SlowOrFailed{${sampler.toString()}}`,
  }
}

/** Passes on the unsampled request that was slow or failed, with the steps that served it. */
export function keepSlowOrFailed(slowMs: number, next: readonly SpanProcessor[]): SpanProcessor {
  let steps: ReadableSpan[] = []

  const pass = (span: ReadableSpan): void => {
    const chosen = asSampled(span)
    for (const processor of next) processor.onEnd(chosen)
  }

  const settle = (request: ReadableSpan): void => {
    const isFailed = request.status.code === SpanStatusCode.ERROR
    if (!isFailed && hrTimeToMilliseconds(request.duration) < slowMs) return
    const { traceId } = request.spanContext()
    const served = new Set(steps.filter((step) => serves(step, traceId)))
    steps = steps.filter((step) => !served.has(step))
    for (const step of served) pass(step)
    pass(request)
  }

  return {
    onStart: (_span: unknown, _context: Context) => undefined,
    onEnd: (span) => {
      if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0) return
      if (span.kind === SpanKind.SERVER) return settle(span)
      steps.push(span)
      if (steps.length > 2 * MAX_STEPS) steps = steps.slice(-MAX_STEPS)
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  }
}

const serves = (step: ReadableSpan, traceId: string): boolean =>
  step.spanContext().traceId === traceId || step.links.some(({ context }) => context.traceId === traceId)

/** The same span, as if it had been chosen: exporters leave out what was not. */
function asSampled(span: ReadableSpan): ReadableSpan {
  const context = { ...span.spanContext(), traceFlags: TraceFlags.SAMPLED }
  // Its properties are the span's own.
  return Object.create(span, { spanContext: { value: () => context } }) as ReadableSpan
}
