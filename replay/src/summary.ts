// The figures of a run under AIPerf's names (its export schema 1.4), and some of our own where it has none.
//
// Invariants
//   U1  Latencies and lengths are of answers that came whole; what failed is counted by kind, never averaged in.
//   U2  A metric that nothing was measured of is absent, never 0.

import { counted } from './counted.js'
import type { Answer } from './measure.js'
import { meets, type Goals } from './goodput.js'
import { forcedTokens, type ReplayOptions, type ReplayRun } from './replay.js'
import { RECORD_METRICS } from './record-metrics.js'
import { measureAnswer, type RequestMetrics } from './request-metrics.js'
import {
  ascending,
  distribution,
  greatest,
  joined,
  percentile,
  smallest,
  total,
  type Distribution,
} from './statistics.js'

/** One metric: of many observations a distribution, of one figure only `avg`. */
export interface Figure extends Partial<Omit<Distribution, 'avg'>> {
  readonly unit: string
  readonly avg: number
}

export interface FailureCount {
  readonly kind: string
  readonly code: number | undefined
  readonly message: string // of the first
  readonly count: number
}

export interface MeasuredAnswer {
  readonly answer: Answer
  readonly metrics: RequestMetrics
}

export interface Summary {
  readonly figures: Readonly<Record<string, Figure>> // by AIPerf's tag
  readonly failures: readonly FailureCount[]
  readonly startUnixMs: number
  readonly endUnixMs: number
  readonly wasCancelled: boolean
  readonly numPlanned: number
  readonly lateness: Lateness | undefined // undefined in a closed loop: it has no schedule
  readonly goals: Goals | undefined
  readonly notes: readonly string[]
}

export interface Lateness {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

/** A p99 of lateness from which on a replay is degraded, as AIPerf has it. */
export const DEGRADED_MS = 500

export interface SummaryOptions extends Pick<ReplayOptions, 'endsByItself'> {
  readonly goals?: Goals | undefined
}

export function measureRun({ answers }: ReplayRun): MeasuredAnswer[] {
  return answers
    .filter(({ failure }) => failure === undefined)
    .map((answer) => ({ answer, metrics: measureAnswer(answer) }))
}

export function summarise(run: ReplayRun, options: SummaryOptions = {}): Summary {
  const good = measureRun(run)
  const sent = run.answers.filter(({ failure }) => failure?.kind !== 'in_flight_limit')
  const figures: Record<string, Figure> = {}
  const put = (tag: string, figure: Figure | undefined): void => {
    if (figure !== undefined && Number.isFinite(figure.avg)) figures[tag] = figure
  }
  for (const [tag, figure] of recordFigures(good)) put(tag, figure)
  const lateness = run.plan.pace.kind === 'concurrency' ? undefined : latenessOf(sent)
  for (const [tag, figure] of countFigures(run, good)) put(tag, figure)
  for (const [tag, figure] of usageFigures(figures)) put(tag, figure)
  for (const [tag, figure] of rateFigures(run, good, sent)) put(tag, figure)
  if (options.goals !== undefined)
    for (const [tag, figure] of goodputFigures(run, good, sent, options.goals)) put(tag, figure)
  const numShort = good.filter((one) => isShort(one, options)).length
  put('osl_mismatch_diff_pct', of('%', mismatches(good, options)))
  put('osl_mismatch_count', one('requests', numShort))
  if (lateness !== undefined) {
    put('schedule_lag', of('ms', lags(sent)))
    put('replay_sched_degraded', one('count', lateness.p99 > DEGRADED_MS ? 1 : 0))
    for (const name of ['p50', 'p90', 'p99'] as const) put(`replay_sched_lag_${name}`, one('ms', lateness[name]))
  }
  return {
    figures,
    failures: countFailures(run.answers),
    startUnixMs: run.startUnixMs,
    endUnixMs: run.startUnixMs + run.durationMs,
    wasCancelled: run.wasCancelled,
    numPlanned: run.plan.requests.length,
    lateness,
    goals: options.goals,
    notes: [...(run.refusals ?? []), ...(run.notes ?? []), ...notesOf(good, numShort)],
  }
}

const USAGE = [
  'usage_prompt_tokens',
  'usage_completion_tokens',
  'usage_total_tokens',
  'usage_prompt_cache_read_tokens',
] as const

const of = (unit: string, values: ArrayLike<number>): Figure | undefined => {
  const found = distribution(values)
  return found && { unit, ...found }
}

const one = (unit: string, avg: number): Figure => ({ unit, avg })

const some = <T>(values: readonly (T | undefined)[]): T[] => values.filter((value): value is T => value !== undefined)

type Figures = readonly (readonly [string, Figure | undefined])[]

const recordFigures = (good: readonly MeasuredAnswer[]): Figures =>
  RECORD_METRICS.map((metric) => {
    const values = some(good.map(({ metrics }) => metric.of(metrics)))
    return [metric.tag, of(metric.unit, joined(values.map((value) => (typeof value === 'number' ? [value] : value))))]
  })

function countFigures({ answers }: ReplayRun, good: readonly MeasuredAnswer[]): Figures {
  const numOf = (kind: string): number => answers.filter(({ failure }) => failure?.kind === kind).length
  const numCancelled = numOf('cancelled')
  const numErrors = answers.length - good.length - numCancelled
  const numDone = good.length + numErrors
  const failedInput = some(answers.map(({ failure, promptTokens }) => failure && promptTokens))
  const totalOsl = total(good.map(({ metrics }) => metrics.outputTokens))
  return [
    ['request_count', one('requests', good.length)],
    ['error_request_count', one('requests', numErrors)],
    ['completed_request_count', numDone === 0 ? undefined : one('requests', numDone)],
    ['request_error_rate', numDone === 0 ? undefined : one('%', (100 * numErrors) / numDone)],
    ['cancelled_request_count', one('requests', numCancelled)],
    ['in_flight_limit_count', one('requests', numOf('in_flight_limit'))],
    ['total_osl', one('tokens', totalOsl)],
    ['total_output_tokens', one('tokens', totalOsl)],
    ['error_isl', of('tokens', failedInput)],
    ['total_error_isl', failedInput.length === 0 ? undefined : one('tokens', total(failedInput))],
    ['total_isl', one('tokens', total(good.map(({ metrics }) => metrics.inputTokens ?? 0)))],
  ]
}

/** Of what each answer's usage says. */
function usageFigures(figures: Readonly<Record<string, Figure>>): Figures {
  const sumOf = (tag: string): number | undefined => figures[tag]?.sum
  const sums = USAGE.map((tag) => [`total_${tag}`, sumOf(tag)] as const)
  const [cached, prompts] = [sumOf('usage_prompt_cache_read_tokens'), sumOf('usage_prompt_tokens')]
  return [
    ...sums.map(([tag, tokens]) => [tag, tokens === undefined ? undefined : one('tokens', tokens)] as const),
    [
      'overall_usage_prompt_cache_read_pct',
      cached !== undefined && prompts ? one('%', (100 * cached) / prompts) : undefined,
    ],
  ]
}

function rateFigures({ plan }: ReplayRun, good: readonly MeasuredAnswer[], sent: readonly Answer[]): Figures {
  const seconds = durationOf(sent) / 1000
  const output = total(good.map(({ metrics }) => metrics.outputTokens))
  const input = total(good.map(({ metrics }) => metrics.inputTokens ?? 0))
  const sends = sent.map(({ dispatch }) => dispatch.sentMs)
  const spanMs = greatest(sends) - smallest(sends)
  const { requestedRate } = plan
  return [
    ['benchmark_duration', one('sec', seconds)],
    ['request_throughput', one('requests/sec', good.length / seconds)],
    ['output_token_throughput', one('tokens/sec', output / seconds)],
    ['input_token_throughput', one('tokens/sec', input / seconds)],
    ['total_token_throughput', one('tokens/sec', (input + output) / seconds)],
    ['requested_request_rate', requestedRate === undefined ? undefined : one('requests/sec', requestedRate)],
    ['achieved_request_rate', one('requests/sec', ((sent.length - 1) * 1000) / spanMs)],
  ]
}

/** The share is of all that were due, given up ones too; not of those that an interruption cancelled. */
function goodputFigures(
  { answers }: ReplayRun,
  good: readonly MeasuredAnswer[],
  sent: readonly Answer[],
  goals: Goals,
): Figures {
  const seconds = durationOf(sent) / 1000
  const numDue = answers.filter(({ failure }) => failure?.kind !== 'cancelled').length
  const met = good.filter(({ metrics }) => meets(goals, metrics))
  const tokens = total(met.map(({ metrics }) => metrics.outputTokens))
  return [
    ['goodput', one('requests/sec', met.length / seconds)],
    ['good_request_count', one('requests', met.length)],
    ['good_request_fraction', one('ratio', met.length / numDue)],
    ['good_output_token_throughput', one('tokens/sec', tokens / seconds)],
  ]
}

/** From the first send to the last end. */
const durationOf = (sent: readonly Answer[]): number =>
  greatest(sent.map(({ endMs }) => endMs)) - smallest(sent.map(({ dispatch }) => dispatch.sentMs))

const lags = (sent: readonly Answer[]): number[] => sent.map(({ dispatch }) => dispatch.sentMs - dispatch.scheduledMs)

function latenessOf(sent: readonly Answer[]): Lateness | undefined {
  if (sent.length === 0) return undefined
  const sorted = ascending(lags(sent))
  const at = (percent: number): number => percentile(sorted, percent)
  return { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
}

/** By how many percent of the forced length answers are longer. */
const mismatches = (good: readonly MeasuredAnswer[], options: SummaryOptions): number[] =>
  good.flatMap(({ answer, metrics }) => {
    const wanted = forcedTokens(answer.dispatch.planned.request, options)
    const all = (wanted ?? 0) * metrics.choiceTokens.length
    return all === 0 ? [] : [(100 * (metrics.outputTokens - all)) / all]
  })

function isShort({ answer, metrics }: MeasuredAnswer, options: SummaryOptions): boolean {
  const wanted = forcedTokens(answer.dispatch.planned.request, options)
  return wanted !== undefined && metrics.choiceTokens.some((numTokens) => numTokens !== wanted)
}

export function countFailures(answers: readonly Answer[]): FailureCount[] {
  const counts = new Map<string, FailureCount>()
  for (const { failure } of answers) {
    if (failure === undefined) continue
    const { kind, code, message } = failure
    const before = counts.get(kind)
    counts.set(kind, before === undefined ? { kind, code, message, count: 1 } : { ...before, count: before.count + 1 })
  }
  return [...counts.values()].sort((a, b) => b.count - a.count)
}

function notesOf(good: readonly MeasuredAnswer[], numShort: number): string[] {
  const numEstimated = good.filter(({ metrics }) => metrics.isEstimated).length
  return [
    ...(numShort > 0 ? [`${counted(numShort, 'answer')} not as long as recorded: ended by the endpoint itself`] : []),
    ...(numEstimated > 0
      ? [`${counted(numEstimated, 'answer')} without token ids or usage: each chunk is counted as one token`]
      : []),
  ]
}
