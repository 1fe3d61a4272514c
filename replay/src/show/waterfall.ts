// A request as rows of a waterfall: what is below what, when it began and ended. Where there are no spans, the record's
// own times are the rows.
//
// Invariants
//   H1  Long requests stay readable: beyond `maxRows` only the first and the slowest step are unfolded, unless all are
//       asked for. What is folded is counted.

import { counted } from '../counted.js'
import type { RequestRecord } from '../../../lib/traffic/request-record.js'
import type { Span, SpanEvent } from '../spans/span.js'
import { greatest } from '../statistics.js'
import { keyOf, type FoundRequest } from './find-request.js'

export interface WaterfallRow {
  readonly kind: 'span' | 'wait' | 'event' | 'tokens' | 'folded'
  readonly depth: number
  readonly name: string
  readonly startMs: number // since the request's beginning
  readonly endMs: number
  readonly detail: string
  readonly process: string
  readonly isError: boolean
  readonly marks?: readonly (readonly [number, number])[] // of tokens: [ms, how many]
}

export interface Waterfall {
  readonly durationMs: number
  readonly rows: readonly WaterfallRow[]
}

export interface WaterfallOptions {
  readonly maxRows: number
  readonly isWhole: boolean // unfold everything
}

const STEP = 'router.step'

export function waterfallOf({ record, root, spans }: FoundRequest, options: WaterfallOptions): Waterfall {
  const beginMs = root?.startMs ?? record?.arrivalUnixMs ?? spans[0]?.startMs ?? 0
  const rows = root === undefined ? [] : spanRows(spans, root, beginMs, options)
  const all = [...(rows.length > 0 ? rows : recordRows(record)), ...tokenRows(record, beginMs)]
  return { durationMs: Math.max(0, greatest(all.map(({ endMs }) => endMs))), rows: all }
}

function spanRows(spans: readonly Span[], root: Span, beginMs: number, options: WaterfallOptions): WaterfallRow[] {
  const known = new Set(spans.map(keyOf))
  const rootKey = keyOf(root)
  const children = new Map<string, Span[]>()
  for (const span of spans) {
    const parent = `${span.traceId}/${span.parentSpanId ?? ''}`
    if (keyOf(span) === rootKey) continue
    const key = known.has(parent) ? parent : rootKey
    const siblings = children.get(key)
    if (siblings === undefined) children.set(key, [span])
    else siblings.push(span)
  }
  const steps = spans.filter(({ name }) => name === STEP)
  const isFolding = !options.isWhole && spans.length > options.maxRows
  const unfolded = new Set(isFolding ? [steps[0], slowest(steps)] : steps)
  const rows: WaterfallRow[] = []
  const visit = (span: Span, depth: number): void => {
    rows.push(rowOf(span, depth, beginMs))
    for (const event of span.events) rows.push(eventRow(event, span, depth + 1, beginMs))
    const below = children.get(keyOf(span)) ?? []
    if (span.name === STEP && !unfolded.has(span) && below.length > 0) {
      rows.push(folded(span, countBelow(span, children), depth + 1, beginMs))
      return
    }
    for (const child of below) visit(child, depth + 1)
  }
  visit(root, 0)
  const [first] = steps
  if (first !== undefined) rows.splice(1 + root.events.length, 0, wait('queue', 0, first.startMs - beginMs))
  return rows
}

const slowest = (spans: readonly Span[]): Span | undefined =>
  spans.reduce<Span | undefined>(
    (most, span) => (most !== undefined && most.endMs - most.startMs >= span.endMs - span.startMs ? most : span),
    undefined,
  )

function countBelow(span: Span, children: ReadonlyMap<string, readonly Span[]>): number {
  const below = children.get(keyOf(span)) ?? []
  return below.reduce((sum, child) => sum + 1 + countBelow(child, children), 0)
}

const DETAILS: readonly (readonly [string, (value: string) => string])[] = [
  ['banyan.layer', (value) => `layer ${value}`],
  ['banyan.expert', (value) => `expert ${value}`],
  ['banyan.step.sequences', (value) => counted(Number(value), 'sequence')],
  ['banyan.rows', (value) => counted(Number(value), 'row')],
]

function rowOf(span: Span, depth: number, beginMs: number): WaterfallRow {
  const details = DETAILS.flatMap(([name, show]) => {
    const value = span.attributes[name]
    return typeof value === 'number' || typeof value === 'string' ? [show(String(value))] : []
  })
  return {
    kind: 'span',
    depth,
    name: span.name,
    startMs: span.startMs - beginMs,
    endMs: span.endMs - beginMs,
    detail: [...details, ...(span.isError ? [span.message ?? 'failed'] : [])].join(', '),
    process: span.process,
    isError: span.isError,
  }
}

/** What a terminal has room for of a token tree, of whose nodes the root is neither drafted nor accepted. */
function treeDetails(attributes: SpanEvent['attributes']): string[] {
  const { 'banyan.tree.nodes': nodes, 'banyan.tree.accepted': accepted } = attributes
  if (typeof nodes !== 'number' || !Array.isArray(accepted)) return []
  return [`${nodes - 1} drafted, ${accepted.length - 1} accepted`]
}

const eventRow = (
  { name, timeMs, attributes }: SpanEvent,
  { process }: Span,
  depth: number,
  beginMs: number,
): WaterfallRow => ({
  kind: 'event',
  depth,
  name,
  startMs: timeMs - beginMs,
  endMs: timeMs - beginMs,
  detail: [
    ...treeDetails(attributes),
    ...Object.entries(attributes).map(
      ([key, value]) => `${key.replace(/^banyan\./, '')} ${typeof value === 'object' ? JSON.stringify(value) : value}`,
    ),
  ].join(', '),
  process,
  isError: false,
})

const folded = (span: Span, count: number, depth: number, beginMs: number): WaterfallRow => ({
  ...rowOf(span, depth, beginMs),
  kind: 'folded',
  name: `… ${counted(count, 'span')}`,
  detail: '',
  isError: false,
})

const wait = (name: string, startMs: number, endMs: number): WaterfallRow => ({
  kind: 'wait',
  depth: 1,
  name,
  startMs,
  endMs: Math.max(startMs, endMs),
  detail: '',
  process: '',
  isError: false,
})

function recordRows(record: RequestRecord | undefined): WaterfallRow[] {
  if (record === undefined) return []
  const firstMs = Math.min(record.endMs, ...record.choices.flatMap(({ chunks: [first] }) => first?.[0] ?? []))
  const isError = record.outcome === 'failed'
  const whole = { ...wait(`generate ${record.model}`, 0, record.endMs), depth: 0, process: record.router, isError }
  return [
    { ...whole, kind: 'span', detail: record.error?.message ?? '' },
    wait('to the first token', 0, firstMs),
    { ...wait('streaming', firstMs, record.endMs), kind: 'span' },
  ]
}

function tokenRows(record: RequestRecord | undefined, beginMs: number): WaterfallRow[] {
  if (record === undefined) return []
  const shiftMs = record.arrivalUnixMs - beginMs // clocks of one machine: 0 but for where the span began
  return record.choices.flatMap(({ chunks, numTokens, finishReason }, i): WaterfallRow[] => {
    const marks = chunks.map(([ms, count]) => [ms + shiftMs, count] as const)
    const [startMs, endMs] = [marks[0]?.[0], marks.at(-1)?.[0]]
    if (startMs === undefined || endMs === undefined) return []
    const name = record.choices.length > 1 ? `tokens of choice ${i}` : 'tokens'
    const detail = [`${numTokens}`, ...(finishReason === undefined ? [] : [finishReason])].join(', ')
    return [{ ...wait(name, startMs, endMs), kind: 'tokens', detail, marks }]
  })
}
