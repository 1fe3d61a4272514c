// The files that AIPerf's users know: `profile_export.jsonl` (one line per request), `profile_export_aiperf.json` and
// `.csv`. Names, units and forms are AIPerf's (export schema 1.4); what it has no name for stands beside them.

import type { Answer } from '../measure.js'
import type { ReplayRun } from '../replay.js'
import { RECORD_METRICS } from '../record-metrics.js'
import { measureAnswer } from '../request-metrics.js'
import { PERCENTILES } from '../statistics.js'
import type { Figure, Summary } from '../summary.js'
import { DISTRIBUTIONS, TOTALS } from './names.js'

const SCHEMA_VERSION = '1.4'
const NS_PER_MS = 1e6

interface Value {
  readonly value: number | readonly number[]
  readonly unit: string
}

/** One line per request that was sent or given up, in the order of the plan. */
export function* profileLines(run: ReplayRun): Generator<string> {
  for (const answer of run.answers) yield JSON.stringify(lineOf(answer, run))
}

function lineOf(answer: Answer, { startUnixMs }: ReplayRun): Record<string, unknown> {
  const { dispatch, failure, ackMs, endMs } = answer
  const { request, sessionNum, turnIndex } = dispatch.planned
  const isCancelled = failure?.kind === 'cancelled'
  const ns = (ms: number): number => Math.round((startUnixMs + ms) * NS_PER_MS)
  return {
    metadata: {
      session_num: sessionNum,
      x_request_id: answer.id,
      x_correlation_id: request.session ?? answer.id,
      conversation_id: request.session ?? request.id,
      turn_index: turnIndex,
      request_start_ns: ns(dispatch.sentMs),
      request_ack_ns: ackMs === undefined ? null : ns(ackMs),
      request_end_ns: ns(endMs),
      worker_id: 'replay',
      record_processor_id: 'replay',
      benchmark_phase: 'profiling',
      was_cancelled: isCancelled,
      cancellation_time_ns: isCancelled ? ns(endMs) : null,
      trace_request_id: request.id,
      scheduled_start_ns: ns(dispatch.scheduledMs),
    },
    metrics: metricsOf(answer),
    error: failure === undefined ? null : { code: failure.code ?? null, type: failure.kind, message: failure.message },
  }
}

const ms = (value: number): Value => ({ value, unit: 'ms' })

function metricsOf(answer: Answer): Record<string, Value> {
  const { dispatch, failure, promptTokens } = answer
  const lag = { schedule_lag: ms(dispatch.sentMs - dispatch.scheduledMs) }
  if (failure !== undefined)
    return promptTokens === undefined ? lag : { error_isl: { value: promptTokens, unit: 'tokens' }, ...lag }
  const found = measureAnswer(answer)
  const measured = RECORD_METRICS.flatMap(({ tag, unit, of }) => {
    const value = of(found)
    if (value === undefined || (typeof value !== 'number' && value.length === 0)) return []
    return [[tag, { value: typeof value === 'number' ? value : [...value], unit }] as const]
  })
  return { ...Object.fromEntries(measured), ...lag }
}

/** The summary as one JSON object; `extra` are the caller's own fields, e.g. what was run and against what. */
export function summaryJson(summary: Summary, extra: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const { figures, failures, startUnixMs, endUnixMs, wasCancelled, numPlanned, goals, notes } = summary
  return {
    schema_version: SCHEMA_VERSION,
    ...extra,
    start_time: new Date(startUnixMs).toISOString(),
    end_time: new Date(endUnixMs).toISOString(),
    was_cancelled: wasCancelled,
    is_complete: !wasCancelled,
    ...(wasCancelled && { incomplete_reason: 'interrupted' }),
    ...figures,
    planned_request_count: { unit: 'requests', avg: numPlanned },
    error_summary: failures.map(({ kind, code, message, count }) => ({
      error_details: { code: code ?? null, type: kind, message },
      count,
    })),
    errors_by_kind: Object.fromEntries(failures.map(({ kind, count }) => [kind, count])),
    ...(goals !== undefined && { goodput_constraints: goals }),
    notes,
  }
}

const COLUMNS = ['avg', 'min', 'max', 'sum', ...PERCENTILES.map((percent) => `p${percent}` as const), 'std'] as const

/** Two sections, as AIPerf writes them, each in the order of tags: distributions, then single figures. */
export function summaryCsv({ figures, failures }: Summary): string {
  const rows = (names: typeof TOTALS, columns: readonly (keyof Figure)[]): string[][] =>
    names
      .toSorted((a, b) => (a.tag < b.tag ? -1 : 1))
      .flatMap(({ tag, header }) => {
        const figure = figures[tag]
        return figure === undefined ? [] : [[withUnit(header, figure.unit), ...columns.map((at) => cell(figure[at]))]]
      })
  return [
    ['Metric', ...COLUMNS],
    ...rows(DISTRIBUTIONS, COLUMNS),
    [],
    ['Metric', 'Value'],
    ...rows(TOTALS, ['avg']),
    ...failures.map(({ kind, count }) => [`Errors of kind ${kind}`, String(count)]),
  ]
    .map((row) => row.map(quoted).join(','))
    .join('\n')
    .concat('\n')
}

const withUnit = (header: string, unit: string): string =>
  unit === 'requests' || unit === 'count' ? header : `${header} (${unit})`

const cell = (value: number | string | undefined): string =>
  typeof value !== 'number' ? (value ?? '') : Number.isInteger(value) ? String(value) : value.toFixed(2)

const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
