// Requests that fail or are slow are exported even where the sampler did not choose them: that is known at their end, so
// their spans are kept until then. Only the router can do it: other processes record what was chosen at the start.
//
// Invariants
//   K1  What the sampler chose is none of this: it is exported as ever.
//   K2  Of steps only those wait that served an open request: at most MAX_STEPS of about MAX_BYTES, the latest. The first
//       of their requests that is slow or fails has them passed on, once; they go when all have ended well.
//   K3  A step may end after its request: for LATE_MS it is passed on still.

import { SpanStatusCode, SpanKind, TraceFlags, type Attributes } from '@opentelemetry/api'
import { hrTimeToMilliseconds } from '@opentelemetry/core'
import {
  SamplingDecision,
  type ReadableSpan,
  type Sampler,
  type Span,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base'

const MAX_STEPS = 4096
const MAX_BYTES = 32 * 2 ** 20
const MAX_KEPT = 1024 // traces whose late steps are waited for
const LATE_MS = 60_000

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

interface WaitingStep {
  readonly span: ReadableSpan
  readonly bytes: number
  readonly traceIds: ReadonlySet<string> // of open requests that it served
}

/** A trace with open requests. */
interface OpenTrace {
  numRequests: number
  readonly steps: Set<WaitingStep>
}

/** Passes on the unsampled request that was slow or failed, with the steps that served it. */
export function keepSlowOrFailed(slowMs: number, next: readonly SpanProcessor[]): SpanProcessor {
  const open = new Map<string, OpenTrace>()
  const waiting = new Set<WaitingStep>() // the oldest first
  const keptUntilMs = new Map<string, number>() // by trace, the oldest first
  let numBytes = 0

  const pass = (span: ReadableSpan): void => {
    const chosen = asSampled(span)
    for (const processor of next) processor.onEnd(chosen)
  }

  const forget = (step: WaitingStep): void => {
    if (!waiting.delete(step)) return
    numBytes -= step.bytes
    for (const traceId of step.traceIds) open.get(traceId)?.steps.delete(step)
  }

  const wait = (step: WaitingStep): void => {
    waiting.add(step)
    numBytes += step.bytes
    for (const traceId of step.traceIds) open.get(traceId)?.steps.add(step)
    for (const oldest of waiting) {
      if (waiting.size <= MAX_STEPS && numBytes <= MAX_BYTES) return
      forget(oldest)
    }
  }

  const keep = (traceId: string, endMs: number): void => {
    keptUntilMs.delete(traceId)
    keptUntilMs.set(traceId, endMs + LATE_MS)
    for (const oldest of keptUntilMs.keys()) {
      if (keptUntilMs.size <= MAX_KEPT) return
      keptUntilMs.delete(oldest)
    }
  }

  const requestEnded = (request: ReadableSpan): void => {
    const { traceId } = request.spanContext()
    const trace = open.get(traceId)
    if (trace !== undefined && (trace.numRequests -= 1) === 0) open.delete(traceId)
    const steps = [...(trace?.steps ?? [])]
    if (request.status.code === SpanStatusCode.ERROR || hrTimeToMilliseconds(request.duration) >= slowMs) {
      keep(traceId, hrTimeToMilliseconds(request.endTime))
      for (const step of steps) {
        forget(step)
        pass(step.span)
      }
      pass(request)
    } else for (const step of steps) if (![...step.traceIds].some((id) => open.has(id))) forget(step)
  }

  const stepEnded = (span: ReadableSpan): void => {
    const traceIds = [span.spanContext().traceId, ...span.links.map(({ context }) => context.traceId)]
    const endMs = hrTimeToMilliseconds(span.endTime)
    if (traceIds.some((id) => endMs <= (keptUntilMs.get(id) ?? -1))) return pass(span)
    const ofOpen = new Set(traceIds.filter((id) => open.has(id)))
    if (ofOpen.size > 0) wait({ span, bytes: bytesOf(span), traceIds: ofOpen })
  }

  return {
    onStart: (span: Span) => {
      if (span.kind !== SpanKind.SERVER || isSampled(span)) return
      const { traceId } = span.spanContext()
      const trace = open.get(traceId)
      if (trace === undefined) open.set(traceId, { numRequests: 1, steps: new Set() })
      else trace.numRequests += 1
    },
    onEnd: (span) => {
      if (isSampled(span)) return
      if (span.kind === SpanKind.SERVER) requestEnded(span)
      else stepEnded(span)
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  }
}

const isSampled = (span: ReadableSpan): boolean => (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0

/** About what a span takes in memory. */
const bytesOf = ({ attributes, events, links }: ReadableSpan): number =>
  1024 +
  256 * links.length +
  sizeOf(attributes) +
  events.reduce((sum, event) => sum + 128 + sizeOf(event.attributes ?? {}), 0)

const sizeOf = (attributes: Attributes): number =>
  Object.values(attributes).reduce<number>((sum, value) => {
    const items = Array.isArray(value) ? value : [value]
    return sum + items.reduce<number>((size, item) => size + 16 + (typeof item === 'string' ? 2 * item.length : 0), 64)
  }, 0)

/** The same span, as if it had been chosen: exporters leave out what was not. */
function asSampled(span: ReadableSpan): ReadableSpan {
  const context = { ...span.spanContext(), traceFlags: TraceFlags.SAMPLED }
  // Its properties are the span's own.
  return Object.create(span, { spanContext: { value: () => context } }) as ReadableSpan
}
