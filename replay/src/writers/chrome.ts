// Chrome's trace-event JSON, as Perfetto and chrome://tracing open it: a process per process of the cluster, spans as
// slices, arrows where a span's parent is in another process; requests with their first token and their streaming.
//
// Invariants
//   C1  Slices of one thread nest: what overlaps otherwise goes to another thread (a lane).
//   C2  Times count from the first of all, in quarters of a microsecond: that is what milliseconds since 1970 hold, and
//       a reader that adds a beginning and a duration gets exactly the end that another slice has.

import type { RequestRecord } from '../../../lib/traffic/request-record.js'
import type { Span } from '../spans/span.js'
import type { TraceRequest } from '../trace.js'

const QUARTERS_PER_MS = 4000
const QUARTERS_PER_MICRO = 4

interface Slice {
  readonly name: string
  readonly startMs: number
  readonly endMs: number
  readonly args: object
}

export interface ChromeInput {
  readonly spans: readonly Span[]
  readonly records: readonly RequestRecord[]
  /** Requests of other formats, and where they begin. */
  readonly requests?: readonly TraceRequest[]
  readonly startUnixMs?: number
}

/** The whole file, in lines. */
export function* writeChrome(input: ChromeInput): Generator<string> {
  yield '{"displayTimeUnit":"ms","traceEvents":['
  let isFirst = true
  for (const event of events(input)) {
    yield `${isFirst ? '' : ','}${JSON.stringify(event)}`
    isFirst = false
  }
  yield ']}'
}

function* events({ spans, records, requests = [], startUnixMs = 0 }: ChromeInput): Generator<object> {
  const processes = new Map<string, Span[]>()
  for (const span of spans) {
    const list = processes.get(span.process)
    if (list === undefined) processes.set(span.process, [span])
    else list.push(span)
  }
  const lives = [...records.map(lifeOf), ...requests.map((request) => plainLife(request, startUnixMs))]
  const clock = clockFrom([...lives, ...spans])
  let pid = 1
  if (lives.length > 0) {
    yield named(pid, 'requests')
    for (const { item, tid } of lanes(lives, 'apart'))
      yield* item.parts.map((part) => ({ ...complete(part, clock), pid, tid }))
    pid++
  }
  const places = new Map<string, Place>()
  for (const [name, list] of [...processes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    yield named(pid, name)
    for (const { item, tid } of lanes(list, 'nested')) {
      places.set(`${item.traceId}/${item.spanId}`, { pid, tid, span: item })
      const args = { ...item.attributes, traceId: item.traceId, spanId: item.spanId }
      yield { ...complete({ ...item, args }, clock), pid, tid }
      for (const event of item.events) yield { ...instant(event, clock), pid, tid }
    }
    pid++
  }
  yield* arrows(places, clock)
}

const named = (pid: number, name: string): object => ({ ph: 'M', name: 'process_name', pid, tid: 0, args: { name } })

/** Microseconds since the first of all. */
interface Clock {
  at(unixMs: number): number
  between(startMs: number, endMs: number): number
}

function clockFrom(all: readonly Extent[]): Clock {
  const firstMs = all.reduce((first, { startMs }) => Math.min(first, startMs), Infinity)
  const quarters = (unixMs: number): number => Math.round((unixMs - firstMs) * QUARTERS_PER_MS)
  return {
    at: (unixMs) => Math.max(0, quarters(unixMs)) / QUARTERS_PER_MICRO,
    between: (startMs, endMs) => Math.max(0, quarters(endMs) - quarters(startMs)) / QUARTERS_PER_MICRO,
  }
}

const complete = ({ name, startMs, endMs, args }: Slice, clock: Clock): object => ({
  ph: 'X',
  name,
  cat: 'banyan',
  ts: clock.at(startMs),
  dur: clock.between(startMs, endMs),
  args,
})

const instant = ({ name, timeMs, attributes }: Span['events'][number], clock: Clock): object => ({
  ph: 'i',
  s: 't',
  name,
  cat: 'banyan',
  ts: clock.at(timeMs),
  args: attributes,
})

interface Place {
  readonly pid: number
  readonly tid: number
  readonly span: Span
}

function* arrows(places: ReadonlyMap<string, Place>, clock: Clock): Generator<object> {
  let id = 0
  for (const { pid, tid, span } of places.values()) {
    const parent = places.get(`${span.traceId}/${span.parentSpanId ?? ''}`)
    if (parent === undefined || parent.pid === pid) continue
    const arrow = { name: 'calls', cat: 'banyan', id: id++ }
    const startMs = Math.min(Math.max(span.startMs, parent.span.startMs), parent.span.endMs)
    yield { ph: 's', ...arrow, pid: parent.pid, tid: parent.tid, ts: clock.at(startMs) }
    yield { ph: 'f', bp: 'e', ...arrow, pid, tid, ts: clock.at(span.startMs) }
  }
}

interface Extent {
  readonly startMs: number
  readonly endMs: number
}

/** Each item with its lane, 1 and up: in one lane they follow each other, or nest where they may. */
function* lanes<T extends Extent>(
  items: readonly T[],
  inLane: 'apart' | 'nested',
): Generator<{ readonly item: T; readonly tid: number }> {
  const open: Extent[][] = [] // per lane, outermost first
  for (const item of [...items].sort((a, b) => a.startMs - b.startMs || b.endMs - a.endMs)) {
    const fits = (lane: Extent[]): boolean => {
      while (lane.length > 0 && (lane.at(-1)?.endMs ?? 0) <= item.startMs) lane.pop()
      const around = lane.at(-1)
      return around === undefined || (inLane === 'nested' && around.endMs >= item.endMs)
    }
    const found = open.findIndex(fits)
    const lane = found === -1 ? open.push([]) - 1 : found
    open[lane]?.push(item)
    yield { item, tid: lane + 1 }
  }
}

interface Life extends Extent {
  readonly parts: readonly Slice[]
}

/** A request from its arrival to its end, and in it the wait for its first token and the streaming. */
function lifeOf(record: RequestRecord): Life {
  const { id, arrivalUnixMs, endMs, prompt, params, choices, outcome, router, session } = record
  const firstMs = Math.min(endMs, ...choices.flatMap(({ chunks: [first] }) => first?.[0] ?? []))
  const numTokens = choices.reduce((sum, choice) => sum + choice.numTokens, 0)
  const at = (from: number, to: number): Extent => ({ startMs: arrivalUnixMs + from, endMs: arrivalUnixMs + to })
  const args = { promptTokens: prompt.numTokens, outputTokens: numTokens, outcome, router, session, seed: params.seed }
  return {
    ...at(0, endMs),
    parts: [
      { name: id, ...at(0, endMs), args },
      { name: 'to the first token', ...at(0, firstMs), args: { cachedTokens: prompt.cachedTokens } },
      { name: 'streaming', ...at(firstMs, endMs), args: { outputTokens: numTokens } },
    ],
  }
}

function plainLife({ id, arrivalMs, durationMs = 0, outputTokens, session }: TraceRequest, startUnixMs: number): Life {
  const extent = { startMs: startUnixMs + arrivalMs, endMs: startUnixMs + arrivalMs + durationMs }
  return { ...extent, parts: [{ name: id, ...extent, args: { outputTokens, session } }] }
}
