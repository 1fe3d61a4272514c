// Spans as OTLP JSON has them, and as inference-perf writes them: one shape for both.

import { isRow, shown, type Row } from '../formats/fields.js'
import { BadItem } from '../formats/format.js'

export type AttributeValue =
  string | number | boolean | readonly AttributeValue[] | { readonly [key: string]: AttributeValue }
export type Attributes = Readonly<Record<string, AttributeValue>>

export interface SpanEvent {
  readonly timeMs: number
  readonly name: string
  readonly attributes: Attributes
}

export interface SpanLink {
  readonly traceId: string
  readonly spanId: string
}

export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startMs: number // since 1970
  readonly endMs: number
  readonly attributes: Attributes
  readonly events: readonly SpanEvent[]
  readonly links: readonly SpanLink[]
  readonly isError: boolean
  readonly message?: string // of the error
  readonly process: string // e.g. 'expert-worker-0'
}

const STATUS_ERROR = 2
const NANOS_PER_MS = 1_000_000

/** A text, or a number as one. */
export const wordOf = (value: AttributeValue | undefined): string | undefined =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : undefined

/** Whether a value is spans at all, in whichever of the shapes. */
export const isSpans = (value: unknown): value is Row =>
  isRow(value) && (Array.isArray(value.resourceSpans) || (Array.isArray(value.spans) && value.spans.every(isPlainSpan)))

const isPlainSpan = (value: unknown): boolean => isRow(value) && 'span_id' in value

/** The spans of one ExportTraceServiceRequest or of one session's `{trace_id, spans}`. */
export function spansOf(value: unknown): readonly Span[] {
  if (!isSpans(value)) throw new BadItem(`want resourceSpans or spans, found ${shown(value)}`)
  if (Array.isArray(value.spans)) return rowsOf(value.spans, 'spans').map((span) => plainSpan(span, value))
  return rowsOf(value.resourceSpans, 'resourceSpans').flatMap((resourceSpans) => {
    const process = processOf(resourceSpans)
    const scopes = resourceSpans.scopeSpans ?? resourceSpans.instrumentationLibrarySpans ?? []
    return rowsOf(scopes, 'scopeSpans').flatMap(({ spans }) =>
      rowsOf(spans ?? [], 'spans').map((span) => otlpSpan(span, process)),
    )
  })
}

function rowsOf(value: unknown, name: string): readonly Row[] {
  if (!Array.isArray(value) || !value.every(isRow))
    throw new BadItem(`${name}: want a list of objects, found ${shown(value)}`)
  return value
}

function processOf({ resource }: Row): string {
  const { 'service.instance.id': instance, 'service.name': service } = attributesOf(
    isRow(resource) ? resource.attributes : [],
  )
  return wordOf(instance) ?? wordOf(service) ?? 'unknown'
}

function otlpSpan(span: Row, process: string): Span {
  const status = isRow(span.status) ? span.status : {}
  return {
    ...ids(span.traceId, span.spanId, span.parentSpanId),
    name: nameOf(span),
    startMs: nanos(span, 'startTimeUnixNano'),
    endMs: nanos(span, 'endTimeUnixNano'),
    attributes: attributesOf(span.attributes),
    events: rowsOf(span.events ?? [], 'events').map((event) => ({
      timeMs: nanos(event, 'timeUnixNano'),
      name: nameOf(event),
      attributes: attributesOf(event.attributes),
    })),
    links: rowsOf(span.links ?? [], 'links').map(({ traceId, spanId }) => ids(traceId, spanId, undefined)),
    isError: status.code === STATUS_ERROR || status.code === 'STATUS_CODE_ERROR',
    ...(typeof status.message === 'string' && { message: status.message }),
    process,
  }
}

function plainSpan(span: Row, session: Row): Span {
  const status = isRow(span.status) ? span.status : {}
  const traceId = span.trace_id ?? session.trace_id
  return {
    ...ids(traceId, span.span_id, span.parent_span_id),
    name: nameOf(span),
    startMs: isoTime(span, 'start_time'),
    endMs: isoTime(span, 'end_time'),
    attributes: { 'session.id': String(traceId), ...(isRow(span.attributes) && plainAttributes(span.attributes)) },
    events: [],
    links: [],
    isError: /ERROR$/.test(String(status.status_code ?? status.code)),
    process: 'unknown',
  }
}

function ids(traceId: unknown, spanId: unknown, parent: unknown): Pick<Span, 'traceId' | 'spanId' | 'parentSpanId'> {
  if (typeof traceId !== 'string' || typeof spanId !== 'string')
    throw new BadItem(`traceId, spanId: want texts, found ${shown([traceId, spanId])}`)
  return { traceId, spanId, ...(typeof parent === 'string' && parent !== '' && { parentSpanId: parent }) }
}

function nameOf({ name }: Row): string {
  if (typeof name !== 'string') throw new BadItem(`name: want a text, found ${shown(name)}`)
  return name
}

/** Nanoseconds since 1970, a decimal text as the format asks or a number as some write. */
function nanos(row: Row, name: string): number {
  const value = row[name]
  const isTime = (typeof value === 'string' && /^\d{1,20}$/.test(value)) || (typeof value === 'number' && value >= 0)
  if (!isTime) throw new BadItem(`${name}: want nanoseconds since 1970, found ${shown(value)}`)
  if (typeof value === 'number') return value / NANOS_PER_MS
  const exact = BigInt(value)
  return Number(exact / BigInt(NANOS_PER_MS)) + Number(exact % BigInt(NANOS_PER_MS)) / NANOS_PER_MS
}

function isoTime(row: Row, name: string): number {
  const value = row[name]
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (!Number.isFinite(time)) throw new BadItem(`${name}: want an ISO date and time, found ${shown(value)}`)
  return time
}

/** The protocol's list of keys and typed values. */
function attributesOf(list: unknown): Attributes {
  const pairs = rowsOf(list ?? [], 'attributes').flatMap(({ key, value }): [string, AttributeValue][] => {
    const plain = anyValue(value)
    return typeof key === 'string' && plain !== undefined ? [[key, plain]] : []
  })
  return Object.fromEntries(pairs)
}

function anyValue(value: unknown): AttributeValue | undefined {
  if (!isRow(value)) return undefined
  const { stringValue, intValue, doubleValue, boolValue, arrayValue, kvlistValue } = value
  if (typeof stringValue === 'string') return stringValue
  if (typeof intValue === 'string' || typeof intValue === 'number') return integer(intValue)
  if (typeof doubleValue === 'number') return doubleValue
  if (typeof boolValue === 'boolean') return boolValue
  if (isRow(arrayValue)) return rowsOf(arrayValue.values ?? [], 'values').flatMap((item) => anyValue(item) ?? [])
  if (isRow(kvlistValue)) return attributesOf(kvlistValue.values)
  return undefined
}

/** What a double cannot hold stays text. */
function integer(value: string | number): AttributeValue {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : String(value)
}

function plainAttributes(row: Row): Attributes {
  const pairs = Object.entries(row).flatMap(([key, value]): [string, AttributeValue][] => {
    const plain = plainValue(value)
    return plain === undefined ? [] : [[key, plain]]
  })
  return Object.fromEntries(pairs)
}

function plainValue(value: unknown): AttributeValue | undefined {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
  if (Array.isArray(value)) return value.flatMap((item: unknown) => plainValue(item) ?? [])
  return isRow(value) ? plainAttributes(value) : undefined
}
