// One request among our own files: its record, its spans, and the steps of other traces that worked for it too.
//
// Invariants
//   G1  Memory holds the ids and what belongs to the chosen request, not the files.

import type { RequestRecord } from '../../../lib/traffic/request-record.js'
import { wordOf, type Span } from '../spans/span.js'
import { scanFiles } from '../spans/scan.js'
import { TraceError } from '../trace-error.js'

export interface FoundRequest {
  readonly id: string
  readonly record?: RequestRecord
  readonly root?: Span
  readonly spans: readonly Span[] // the root among them, in the order of their start
}

interface Candidate {
  readonly id: string
  readonly startMs: number
}

const SHOWN = 5

/** The request of an id, of the only id that begins so, or of a place in the order of arrival (from 0). */
export async function findRequest(path: string, wanted: string): Promise<FoundRequest> {
  const { id } = choose(await readCandidates(path), wanted, path)
  let record: RequestRecord | undefined
  let root: Span | undefined
  for await (const batch of scanFiles(path)) {
    for (const candidate of batch.records.filter((each) => each.id === id))
      if (record === undefined || endOf(candidate) >= endOf(record)) record = candidate
    root ??= batch.spans.find((span) => idOf(span) === id)
  }
  const traceId = root?.traceId ?? record?.traceId
  const spans = traceId === undefined ? [] : await spansFor(path, traceId, root?.spanId)
  const top = root ?? spans.find(({ parentSpanId }) => parentSpanId === undefined)
  return { id, ...(record !== undefined && { record }), ...(top !== undefined && { root: top }), spans }
}

/** A request that was left and came back has several records: the one that ended last stands. */
const endOf = ({ arrivalUnixMs, endMs }: RequestRecord): number => arrivalUnixMs + endMs

/** In the order of arrival. */
async function readCandidates(path: string): Promise<readonly Candidate[]> {
  const startMs = new Map<string, number>()
  for await (const { spans, records } of scanFiles(path)) {
    for (const span of spans) {
      const id = idOf(span)
      if (id !== undefined && !startMs.has(id)) startMs.set(id, span.startMs)
    }
    for (const record of records) startMs.set(record.id, record.arrivalUnixMs)
  }
  if (startMs.size === 0)
    throw new TraceError('failed_precondition', `${path}: want records or spans of requests, found neither`)
  return [...startMs].map(([id, ms]) => ({ id, startMs: ms })).sort((a, b) => a.startMs - b.startMs)
}

/** Only the span of the whole request names the response. */
const idOf = ({ attributes }: Span): string | undefined =>
  wordOf(attributes['gen_ai.response.id'] ?? attributes['gen_ai.request.id'])

function choose(candidates: readonly Candidate[], wanted: string, path: string): Candidate {
  const bare = wanted.replace(/^(chat)?cmpl-/, '') // what the HTTP door puts before an id
  const exact = candidates.find(({ id }) => id === wanted || id === bare)
  if (exact !== undefined) return exact
  const place = /^\d{1,9}$/.test(wanted) ? candidates[Number(wanted)] : undefined
  const begun = candidates.filter(({ id }) => id.startsWith(wanted) || (bare !== '' && id.startsWith(bare)))
  const [only] = begun
  if (place !== undefined) return place
  if (begun.length === 1 && only !== undefined) return only
  const list = (begun.length > 0 ? begun : candidates).slice(0, SHOWN).map(({ id }) => id)
  const found =
    begun.length > 0
      ? `${begun.length} that begin so: ${list.join(', ')}`
      : `0 to ${candidates.length - 1} by place, or by id: ${list.join(', ')}`
  throw new TraceError(
    'not_found',
    `${path}: want a request's id, the beginning of one, or its place, found ${JSON.stringify(wanted)} and ${found}${begun.length > SHOWN || (begun.length === 0 && candidates.length > SHOWN) ? ', …' : ''}`,
  )
}

/** All of its trace, and of other traces the steps that name it in a link, with what is below them. */
async function spansFor(path: string, traceId: string, spanId: string | undefined): Promise<readonly Span[]> {
  const linked = new Set<string>() // trace/span of steps elsewhere
  const traces = new Set([traceId])
  for await (const { spans } of scanFiles(path))
    for (const span of spans) {
      const isOurs = (link: Span['links'][number]): boolean =>
        link.traceId === traceId && (spanId === undefined || link.spanId === spanId)
      if (span.traceId === traceId || !span.links.some(isOurs)) continue
      linked.add(keyOf(span))
      traces.add(span.traceId)
    }
  const kept = new Map<string, Span>()
  for await (const { spans } of scanFiles(path))
    for (const span of spans) if (traces.has(span.traceId)) kept.set(keyOf(span), span)
  const belongs = (span: Span): boolean => {
    const seen = new Set<Span>()
    for (
      let at: Span | undefined = span;
      at !== undefined && !seen.has(at);
      at = kept.get(`${at.traceId}/${at.parentSpanId ?? ''}`)
    ) {
      if (at.traceId === traceId || linked.has(keyOf(at))) return true
      seen.add(at)
    }
    return false
  }
  return [...kept.values()].filter(belongs).sort((a, b) => a.startMs - b.startMs || b.endMs - a.endMs)
}

export const keyOf = ({ traceId, spanId }: Pick<Span, 'traceId' | 'spanId'>): string => `${traceId}/${spanId}`
