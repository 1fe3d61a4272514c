// Requests that fail or are slow are exported even where the sampler did not choose them: that is known late, so their
// spans are kept until then. A router decides; other processes hold what is recent (`recent-spans.ts`) and are told.
//
// Invariants
//   K1  What the sampler chose is none of this: it is exported as ever.
//   K2  Of steps only those wait that served an open request: at most MAX_STEPS of about MAX_BYTES, the latest. As soon as
//       one of their requests is slow or fails they are passed on, once; they go when all have ended well.
//   K3  A step may end after its request: for LATE_MS it is passed on still.
//   K4  What other processes did for a step is in the step's own trace, which is that of its first request. Such a trace
//       is told to them, and has all its steps here too.

import { SpanStatusCode, SpanKind, type Attributes } from '@opentelemetry/api'
import { hrTimeToMilliseconds } from '@opentelemetry/core'
import {
  SamplingDecision,
  type ReadableSpan,
  type Sampler,
  type Span,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { createRecentTraces, FOLLOWED_MS, isSampled, passOn } from './recent-spans.js'

const MAX_STEPS = 4096
const MAX_BYTES = 32 * 2 ** 20
const MAX_KEPT = 1024 // traces whose late steps are waited for
const LATE_MS = 60_000
const TOLD_MS = 2_000 // for several heartbeats
const MAX_TOLD = 256 // traces, in a heartbeat

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
  readonly requestsSinceMs: Map<string, number> // by span
  readonly steps: Set<WaitingStep>
}

export interface KeepingProcessor extends SpanProcessor {
  /** Traces that other processes are to keep, too. */
  decided(this: void): readonly string[]
}

/** Passes on the unsampled request that was slow or failed, with the steps that served it. */
export function keepSlowOrFailed(
  slowMs: number,
  next: readonly SpanProcessor[],
  nowMs: () => number = Date.now,
): KeepingProcessor {
  const open = new Map<string, OpenTrace>()
  const waiting = new Set<WaitingStep>() // the oldest first
  const keptUntilMs = createRecentTraces(MAX_KEPT) // of requests that have ended
  const decidedMs = createRecentTraces(MAX_KEPT)
  let numBytes = 0

  /** False where it did not wait any more. */
  const forget = (step: WaitingStep): boolean => {
    if (!waiting.delete(step)) return false
    numBytes -= step.bytes
    for (const traceId of step.traceIds) open.get(traceId)?.steps.delete(step)
    return true
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

  const passWaiting = (step: WaitingStep): void => {
    if (forget(step)) passOn(step.span, next)
  }

  /** Passes on what waits of a trace that the step of a kept request is in (K4). */
  const decide = (traceId: string): void => {
    decidedMs.set(traceId, nowMs())
    for (const step of [...(open.get(traceId)?.steps ?? [])])
      if (step.span.spanContext().traceId === traceId) passWaiting(step)
  }

  const passStepsOf = (steps: Iterable<WaitingStep>): void => {
    for (const step of [...steps]) {
      passWaiting(step)
      decide(step.span.spanContext().traceId)
    }
  }

  const requestEnded = (request: ReadableSpan): void => {
    const { traceId, spanId } = request.spanContext()
    const trace = open.get(traceId)
    trace?.requestsSinceMs.delete(spanId)
    if (trace?.requestsSinceMs.size === 0) open.delete(traceId)
    const steps = [...(trace?.steps ?? [])]
    if (request.status.code === SpanStatusCode.ERROR || hrTimeToMilliseconds(request.duration) >= slowMs) {
      keptUntilMs.set(traceId, hrTimeToMilliseconds(request.endTime) + LATE_MS)
      passStepsOf(steps)
      passOn(request, next)
    } else for (const step of steps) if (![...step.traceIds].some((id) => open.has(id))) forget(step)
  }

  /** Also of a request that is slow already. */
  const isKept = (traceId: string, endMs: number): boolean =>
    endMs <= (keptUntilMs.get(traceId) ?? -Infinity) ||
    [...(open.get(traceId)?.requestsSinceMs.values() ?? [])].some((sinceMs) => endMs - sinceMs >= slowMs)

  const stepEnded = (span: ReadableSpan): void => {
    const { traceId: own } = span.spanContext()
    const traceIds = [own, ...span.links.map(({ context }) => context.traceId)]
    const endMs = hrTimeToMilliseconds(span.endTime)
    const kept = traceIds.filter((id) => isKept(id, endMs))
    if (kept.length > 0) {
      for (const id of kept) passStepsOf(open.get(id)?.steps ?? [])
      decide(own)
    }
    if (endMs <= (decidedMs.get(own) ?? -Infinity) + FOLLOWED_MS) return passOn(span, next)
    const ofOpen = new Set(traceIds.filter((id) => open.has(id)))
    if (ofOpen.size > 0) wait({ span, bytes: bytesOf(span), traceIds: ofOpen })
  }

  return {
    decided: () => {
      const sinceMs = nowMs() - TOLD_MS
      return decidedMs.latest(MAX_TOLD).flatMap(([traceId, atMs]) => (atMs >= sinceMs ? [traceId] : []))
    },
    onStart: (span: Span) => {
      if (span.kind !== SpanKind.SERVER || isSampled(span)) return
      const { traceId, spanId } = span.spanContext()
      const trace = open.get(traceId) ?? { requestsSinceMs: new Map<string, number>(), steps: new Set() }
      trace.requestsSinceMs.set(spanId, hrTimeToMilliseconds(span.startTime))
      open.set(traceId, trace)
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
