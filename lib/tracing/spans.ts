// Spans around the hops of a token: request, step, expert call. The trace context travels in the frame's envelope as a
// W3C `traceparent`.

import {
  INVALID_SPAN_CONTEXT,
  INVALID_TRACEID,
  ROOT_CONTEXT,
  SpanStatusCode,
  TraceFlags,
  trace,
  type Context,
  type Span,
  type SpanContext,
  type Tracer,
} from '@opentelemetry/api'
import { ClusterError } from '../errors.js'

/** Versions after 00 may add fields behind; ids of zeros alone name nothing. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** The W3C header of a span, or undefined where nothing is recorded. */
export function traceparentOf(span: Span): string | undefined {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return traceId === INVALID_TRACEID ? undefined : `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

/** A context whose parent is the remote span of the header; without a (valid) header a fresh root. */
export function contextFrom(traceparent: string | undefined): Context {
  const parent = spanContextOf(traceparent)
  return parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
}

/** What a header names; undefined without a (valid) one. */
export function spanContextOf(traceparent: string | undefined): SpanContext | undefined {
  if (traceparent === undefined) return undefined
  const [, version, traceId, spanId, flags, rest] = TRACEPARENT.exec(traceparent) ?? []
  if (traceId === undefined || spanId === undefined || (version === '00' && rest !== undefined)) return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags ?? '00', 16) & TraceFlags.SAMPLED, isRemote: true }
}

/** Whether the span that a header names is kept. */
export const isSampled = (traceparent: string | undefined): boolean => traceparent?.endsWith('-01') ?? false

const silent = new WeakSet<Tracer>()

/** Says that the tracer makes no spans: what runs inside one hands its parent on. */
export function silence(tracer: Tracer): Tracer {
  silent.add(tracer)
  return tracer
}

/** Runs an operation inside a span; a failure is recorded on it and thrown on. */
export async function inSpan<T>(
  tracer: Tracer,
  name: string,
  parent: string | undefined,
  run: (traceparent: string | undefined, span: Span) => Promise<T>,
): Promise<T> {
  if (silent.has(tracer)) return run(parent, UNRECORDED)
  const span = tracer.startSpan(name, {}, contextFrom(parent))
  try {
    return await run(traceparentOf(span) ?? parent, span)
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: ClusterError.from(error).message })
    throw error
  } finally {
    span.end()
  }
}

const UNRECORDED = trace.wrapSpanContext(INVALID_SPAN_CONTEXT)

const holding = new WeakSet<Tracer>()

/** Says that the tracer's unsampled spans are held: somebody may ask for them yet. */
export function holdUnsampled(tracer: Tracer): Tracer {
  holding.add(tracer)
  return tracer
}

/**
 * The same for a hop inside the cluster, which has no say of its own: without a parent, or under one that is not kept by
 * anybody, there is no span to make, and what runs thousands of times a second pays nothing for it.
 */
export function inHopSpan<T>(
  tracer: Tracer,
  name: string,
  parent: string | undefined,
  run: (traceparent: string | undefined, span: Span) => Promise<T>,
): Promise<T> {
  const isMade = parent !== undefined && (isSampled(parent) || holding.has(tracer))
  return isMade ? inSpan(tracer, name, parent, run) : run(parent, UNRECORDED)
}
