// The latest spans that no sampler chose, of a process in which no request begins: held until a router says which of their
// traces are kept after all (`slow-or-failed.ts`).
//
// Invariants
//   R1  At most MAX_SPANS are held, the latest; each goes out once at most.
//   R2  Holding one is a write into a ring: nothing is looked up and nothing is told to anybody.

import { TraceFlags } from '@opentelemetry/api'
import { hrTimeToMilliseconds } from '@opentelemetry/core'
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace-base'

const MAX_SPANS = 8192
const MAX_TRACES = 1024

/** So long after the last word of a trace its spans are passed on. */
export const FOLLOWED_MS = 10_000

export interface HoldingProcessor extends SpanProcessor {
  /** Routers keep these traces. */
  keep(this: void, traceIds: readonly string[]): void
}

export function holdRecent(next: readonly SpanProcessor[], nowMs: () => number = Date.now): HoldingProcessor {
  const ring = new Array<ReadableSpan | undefined>(MAX_SPANS).fill(undefined)
  const heardMs = createRecentTraces(MAX_TRACES)
  let at = 0 // of the oldest

  return {
    keep: (traceIds) => {
      const now = nowMs()
      const fresh = new Set(traceIds.filter((id) => now > (heardMs.get(id) ?? -Infinity) + FOLLOWED_MS))
      for (const id of traceIds) heardMs.set(id, now)
      for (let i = 0; fresh.size > 0 && i < MAX_SPANS; i++) {
        const place = (at + i) % MAX_SPANS
        const span = ring[place]
        if (span === undefined || !fresh.has(span.spanContext().traceId)) continue
        ring[place] = undefined
        passOn(span, next)
      }
    },
    onStart: () => undefined,
    onEnd: (span) => {
      if (isSampled(span)) return
      const heard = heardMs.get(span.spanContext().traceId)
      if (heard !== undefined && hrTimeToMilliseconds(span.endTime) <= heard + FOLLOWED_MS) return passOn(span, next)
      ring[at] = span
      at = (at + 1) % MAX_SPANS
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  }
}

/** Times by trace, the latest so many. */
export interface RecentTraces {
  get(traceId: string): number | undefined
  set(traceId: string, ms: number): void
  /** The last ones that were set. */
  latest(count: number): (readonly [traceId: string, ms: number])[]
}

export function createRecentTraces(max: number): RecentTraces {
  const times = new Map<string, number>() // set longest ago first
  return {
    get: (traceId) => times.get(traceId),
    set: (traceId, ms) => {
      times.delete(traceId)
      times.set(traceId, ms)
      for (const oldest of times.keys()) {
        if (times.size <= max) return
        times.delete(oldest)
      }
    },
    latest: (count) => [...times].slice(-count),
  }
}

export const isSampled = (span: ReadableSpan): boolean => (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0

/** The same span, as if it had been chosen: exporters leave out what was not. */
export function passOn(span: ReadableSpan, next: readonly SpanProcessor[]): void {
  const context = { ...span.spanContext(), traceFlags: TraceFlags.SAMPLED }
  // Its properties are the span's own.
  const chosen = Object.create(span, { spanContext: { value: () => context } }) as ReadableSpan
  for (const processor of next) processor.onEnd(chosen)
}
