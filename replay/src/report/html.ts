// The report as one page that needs nothing else: figures, latency over time, distributions, a timeline of the
// requests, throughput, and what the server told of drafts and experts.

import type { Answer } from '../measure.js'
import type { ReplayRun } from '../replay.js'
import type { ServerFigures } from '../server-figures.js'
import { ascending, joined, percentile } from '../statistics.js'
import { measureRun, type MeasuredAnswer, type Summary } from '../summary.js'
import { bars, heatMap, lines, scatter, timeline, type Lane, type Point } from '../page/charts.js'
import { DEFINITIONS, DISTRIBUTIONS } from './names.js'
import { chartGrid, page, section, table, tiles, type Tile } from './page.js'
import { formatFigure } from './table.js'

export interface HtmlOptions {
  readonly title: string
  readonly subtitle: readonly string[]
  readonly server?: ServerFigures | undefined
  readonly extra?: string | undefined // a section of the caller's own, e.g. the check, as HTML
}

export function reportHtml(
  run: ReplayRun,
  summary: Summary,
  { title, subtitle, server, extra = '' }: HtmlOptions,
): string {
  const good = measureRun(run)
  return page(
    title,
    subtitle,
    [
      tiles(tilesOf(summary)),
      extra,
      section('Figures', table(figureRows(summary))),
      section('Errors', errorTable(summary)),
      section(
        'Latency',
        chartGrid([overTime(good, 'ttftMs', 'TTFT'), overTime(good, 'e2eMs', 'e2e'), cdf(good), gaps(good)]),
      ),
      section('Requests', chartGrid([lanes(run)])),
      section('Load', chartGrid([throughput(good, run), inFlight(run), lateness(run)])),
      section('Server', server === undefined ? '' : chartGrid(serverCharts(server))),
      section('Definitions', table([['', 'what it is'], ...DEFINITIONS])),
    ].join('\n'),
  )
}

function tilesOf({ figures, lateness: late }: Summary): Tile[] {
  const value = (tag: string, at: 'avg' | 'p50' | 'p99' = 'avg', unit = ''): string =>
    figures[tag] === undefined ? '–' : `${formatFigure(figures[tag][at])}${unit}`
  const numFailed = figures.error_request_count?.avg ?? 0
  const numCancelled = figures.cancelled_request_count?.avg ?? 0
  return [
    { label: 'requests answered', value: value('request_count') },
    { label: 'requests failed', value: String(numFailed), isBad: numFailed > 0 },
    ...(numCancelled > 0 ? [{ label: 'requests cancelled', value: String(numCancelled) }] : []),
    { label: 'requests a second', value: value('request_throughput') },
    { label: 'output tokens a second', value: value('output_token_throughput') },
    { label: 'TTFT p50', value: value('time_to_first_token', 'p50', ' ms') },
    { label: 'TTFT p99', value: value('time_to_first_token', 'p99', ' ms') },
    { label: 'TPOT p50', value: value('inter_token_latency', 'p50', ' ms') },
    { label: 'e2e p99', value: value('request_latency', 'p99', ' ms') },
    ...(figures.goodput === undefined ? [] : [{ label: 'goodput, requests a second', value: value('goodput') }]),
    ...(late === undefined ? [] : [{ label: 'lateness p99', value: `${formatFigure(late.p99)} ms` }]),
  ]
}

const COLUMNS = ['avg', 'min', 'max', 'p50', 'p90', 'p95', 'p99', 'std'] as const

const figureRows = ({ figures }: Summary): string[][] => [
  ['', ...COLUMNS],
  ...DISTRIBUTIONS.flatMap(({ tag, short }) => {
    const figure = figures[tag]
    if (figure === undefined || short === undefined) return []
    return [
      [`${short}${figure.unit === 'ms' ? ' (ms)' : ''}`, ...COLUMNS.map((column) => formatFigure(figure[column]))],
    ]
  }),
]

const errorTable = ({ failures }: Summary): string =>
  failures.length === 0
    ? ''
    : table([
        ['kind', 'count', 'the first of them'],
        ...failures.map(({ kind, count, message }) => [kind, String(count), message]),
      ])

const seconds = (ms: number): number => ms / 1000
const dueAt = ({ answer }: MeasuredAnswer): number => seconds(answer.dispatch.scheduledMs)

function overTime(good: readonly MeasuredAnswer[], field: 'ttftMs' | 'e2eMs', name: string): string {
  const points = good.flatMap((one) => {
    const y = one.metrics[field]
    return y === undefined ? [] : [{ x: dueAt(one), y }]
  })
  return scatter([{ label: name, color: 'a', points }], {
    title: `${name} over time`,
    xLabel: 'due, seconds from the start',
    yLabel: 'milliseconds',
  })
}

const CDF_POINTS = 200

function cdfOf(values: ArrayLike<number>): Point[] {
  const sorted = ascending(values)
  return sorted.length === 0
    ? []
    : Array.from({ length: CDF_POINTS + 1 }, (_, i) => ({
        x: percentile(sorted, (100 * i) / CDF_POINTS),
        y: (100 * i) / CDF_POINTS,
      }))
}

const definedOf = (values: readonly (number | undefined)[]): number[] =>
  values.filter((value): value is number => value !== undefined)

const cdf = (good: readonly MeasuredAnswer[]): string =>
  lines(
    [
      { label: 'TTFT', color: 'a', points: cdfOf(definedOf(good.map(({ metrics }) => metrics.ttftMs))) },
      { label: 'e2e', color: 'b', points: cdfOf(good.map(({ metrics }) => metrics.e2eMs)) },
    ],
    { title: 'Requests within', xLabel: 'milliseconds', yLabel: '% of requests', yMax: 100 },
  )

const gaps = (good: readonly MeasuredAnswer[]): string =>
  lines(
    [
      { label: 'ITL (gaps)', color: 'a', points: cdfOf(joined(good.map(({ metrics }) => metrics.itlMs))) },
      { label: 'TPOT', color: 'b', points: cdfOf(definedOf(good.map(({ metrics }) => metrics.tpotMs))) },
    ],
    { title: 'Gaps and times per token within', xLabel: 'milliseconds', yLabel: '%', yMax: 100 },
  )

const endingOf = ({ failure }: Answer): Lane['ending'] =>
  failure === undefined ? 'whole' : failure.kind === 'cancelled' ? 'cancelled' : 'failed'

const lanes = ({ answers }: ReplayRun): string =>
  timeline(
    answers.map((answer) => {
      const first = definedOf(answer.choices.map(({ chunks }) => chunks.times[0]))
      const { scheduledMs: startMs, planned } = answer.dispatch
      const ended = `${Math.round(answer.endMs - startMs)} ms`
      return {
        startMs,
        firstMs: first.length === 0 ? undefined : Math.min(...first),
        endMs: answer.endMs,
        ending: endingOf(answer),
        title: `${planned.request.id}: ${answer.failure?.kind ?? ended}`,
      }
    }),
    { title: 'Timeline of requests', xLabel: 'seconds from the start', yLabel: 'requests' },
  )

const BUCKETS = 60

/** Sums of what fell into each of so many parts of the run. */
function buckets(
  run: ReplayRun,
  add: (put: (atMs: number, amount: number) => void) => void,
): { sums: number[]; width: number } {
  const width = Math.max(1, run.durationMs / BUCKETS)
  const sums = Array.from({ length: BUCKETS + 1 }, () => 0)
  add((atMs, amount) => {
    const at = Math.min(BUCKETS, Math.max(0, Math.floor(atMs / width)))
    sums[at] = (sums[at] ?? 0) + amount
  })
  return { sums, width }
}

function throughput(good: readonly MeasuredAnswer[], run: ReplayRun): string {
  const { sums, width } = buckets(run, (put) => {
    for (const { answer, metrics } of good) {
      let place = 0
      for (const { chunks } of answer.choices)
        for (const atMs of chunks.times) put(atMs, metrics.tokensPerChunk[place++] ?? 1)
    }
  })
  if (good.length === 0) return ''
  const points = sums.map((sum, i) => ({ x: seconds(i * width), y: sum / seconds(width) }))
  return lines([{ label: 'tokens', color: 'c', points }], {
    title: 'Output tokens a second',
    xLabel: 'seconds from the start',
    yLabel: 'tokens/s',
  })
}

function inFlight({ answers }: ReplayRun): string {
  const changes = answers
    .flatMap(({ dispatch, endMs }) => [
      { atMs: dispatch.sentMs, by: 1 },
      { atMs: endMs, by: -1 },
    ])
    .sort((a, b) => a.atMs - b.atMs || a.by - b.by)
  let running = 0
  const points = changes.map(({ atMs, by }) => ({ x: seconds(atMs), y: (running += by) }))
  return lines([{ label: 'in flight', color: 'a', points }], {
    title: 'Requests in flight',
    xLabel: 'seconds from the start',
    yLabel: 'requests',
    isStepped: true,
  })
}

function lateness({ answers, plan }: ReplayRun): string {
  if (plan.pace.kind === 'concurrency') return ''
  const points = answers.map(({ dispatch: { scheduledMs, sentMs } }) => ({
    x: seconds(scheduledMs),
    y: sentMs - scheduledMs,
  }))
  return scatter([{ label: 'lateness', color: 'b', points }], {
    title: 'Lateness of the generator',
    xLabel: 'due, seconds from the start',
    yLabel: 'milliseconds',
  })
}

const percent = (part: number, whole: number): number => (whole === 0 ? 0 : (100 * part) / whole)

function serverCharts({ acceptance, expertRows }: ServerFigures): string[] {
  const charts: string[] = []
  if (acceptance !== undefined && acceptance.byDepth.length > 0) {
    charts.push(
      bars(
        acceptance.byDepth.map(({ depth, drafted, accepted }) => ({
          label: String(depth),
          value: percent(accepted, drafted),
          title: `depth ${depth}: ${accepted} of ${drafted} nodes`,
        })),
        {
          title: `Drafted nodes accepted, by depth (${formatFigure(acceptance.length)} tokens per draft)`,
          xLabel: 'depth in the tree',
          yLabel: '% accepted',
          yMax: 100,
        },
      ),
      bars(
        acceptance.bySource.map(({ source, drafted, accepted }) => ({
          label: source,
          value: percent(accepted, drafted),
          title: `${source}: ${accepted} of ${drafted} nodes`,
        })),
        { title: 'Drafted nodes accepted, by source', xLabel: 'source', yLabel: '% accepted', yMax: 100 },
      ),
    )
  }
  if (expertRows.length > 0) charts.push(expertChart(expertRows))
  return charts
}

function expertChart(expertRows: ServerFigures['expertRows']): string {
  const layers = [...new Set(expertRows.map(({ layer }) => layer))]
  if (layers.length === 1) {
    const items = expertRows.map(({ expert, rows }) => ({
      label: String(expert),
      value: rows,
      title: `expert ${expert}: ${rows} rows`,
    }))
    return bars(items, { title: 'Rows per expert', xLabel: 'expert', yLabel: 'rows' })
  }
  const numExperts = Math.max(...expertRows.map(({ expert }) => expert)) + 1
  const rows = layers.map((layer) => {
    const row = Array.from({ length: numExperts }, () => 0)
    for (const one of expertRows) if (one.layer === layer) row[one.expert] = one.rows
    return row
  })
  return heatMap(rows, {
    title: 'Rows per expert and layer',
    xLabel: 'expert',
    yLabel: 'layer',
    cellTitle: (row, column) => `layer ${layers[row] ?? row}, expert ${column}`,
  })
}
