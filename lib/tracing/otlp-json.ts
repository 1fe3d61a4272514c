// Spans as OTLP JSON: one ExportTraceServiceRequest per line, which Jaeger and the collector's file receiver read.

import { ExportResultCode, type ExportResult } from '@opentelemetry/core'
import type { AttributeValue, Attributes, HrTime } from '@opentelemetry/api'
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base'
import type { LineFile } from './line-file.js'

const NANOS_PER_SECOND = 1_000_000_000n

/** Nanoseconds since 1970 do not fit a double: decimal text, as the format asks. */
const nanos = ([seconds, rest]: HrTime): string => String(BigInt(seconds) * NANOS_PER_SECOND + BigInt(rest))

function anyValue(value: AttributeValue | null | undefined): object {
  if (Array.isArray(value)) return { arrayValue: { values: value.map((item) => anyValue(item)) } }
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'number')
    return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
  return { stringValue: String(value ?? '') }
}

const keyValues = (attributes: Attributes): object[] =>
  Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }))

function toJson(span: ReadableSpan): object {
  const { traceId, spanId, traceFlags } = span.spanContext()
  return {
    traceId,
    spanId,
    ...(span.parentSpanContext === undefined ? {} : { parentSpanId: span.parentSpanContext.spanId }),
    name: span.name,
    kind: span.kind + 1, // the API counts from INTERNAL = 0, the protocol from UNSPECIFIED = 0
    flags: traceFlags,
    startTimeUnixNano: nanos(span.startTime),
    endTimeUnixNano: nanos(span.endTime),
    attributes: keyValues(span.attributes),
    events: span.events.map((event) => ({
      timeUnixNano: nanos(event.time),
      name: event.name,
      attributes: keyValues(event.attributes ?? {}),
    })),
    links: span.links.map(({ context, attributes }) => ({
      traceId: context.traceId,
      spanId: context.spanId,
      attributes: keyValues(attributes ?? {}),
    })),
    status: { code: span.status.code, ...(span.status.message === undefined ? {} : { message: span.status.message }) },
  }
}

/** One request object; a process has one resource and one instrumentation scope, so the first span names both. */
export function toExportRequest(spans: readonly ReadableSpan[]): object {
  const [first] = spans
  const resource = { attributes: keyValues(first?.resource.attributes ?? {}) }
  const scope = { name: first?.instrumentationScope.name ?? '', version: first?.instrumentationScope.version ?? '' }
  return { resourceSpans: [{ resource, scopeSpans: [{ scope, spans: spans.map(toJson) }] }] }
}

/** Writes each batch as one line. */
export function createSpanFileExporter(file: LineFile): SpanExporter {
  return {
    export: (spans, done: (result: ExportResult) => void) => {
      const isTaken = spans.length === 0 || file.add(JSON.stringify(toExportRequest(spans)))
      done({ code: isTaken ? ExportResultCode.SUCCESS : ExportResultCode.FAILED })
    },
    forceFlush: () => file.flush(),
    shutdown: () => file.close(),
  }
}
