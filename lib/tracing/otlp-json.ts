// Spans as OTLP JSON: one ExportTraceServiceRequest per line, which Jaeger and the collector's file receiver read.

import { ExportResultCode, type ExportResult } from '@opentelemetry/core'
import type { AttributeValue, Attributes, HrTime } from '@opentelemetry/api'
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base'
import { appendFile, mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'

const FILE_MODE = 0o600 // spans may name requests: for their owner only

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

/** Appends each batch as one line; the file and its folder are made at the first. */
export function createSpanFileExporter(file: string): SpanExporter {
  let written: Promise<void> = mkdir(dirname(file), { recursive: true }).then(() => undefined)
  const append = (spans: readonly ReadableSpan[]): Promise<void> => {
    const line = `${JSON.stringify(toExportRequest(spans))}\n`
    const write = written.then(() => appendFile(file, line, { mode: FILE_MODE }))
    written = write.catch(() => undefined) // this batch's failure is reported below; the next one tries again
    return write
  }
  return {
    export: (spans, done: (result: ExportResult) => void) => {
      if (spans.length === 0) return done({ code: ExportResultCode.SUCCESS })
      append(spans).then(
        () => done({ code: ExportResultCode.SUCCESS }),
        (error: unknown) =>
          done({ code: ExportResultCode.FAILED, error: error instanceof Error ? error : new Error(String(error)) }),
      )
    },
    forceFlush: () => written,
    shutdown: () => written,
  }
}
