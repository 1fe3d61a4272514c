// Two runs side by side: whether the second is worse than the first by more than a bound.
//
// Invariants
//   Z1  A regression is called only where the whole 95 % interval of the ratio lies beyond the bound: chance alone does
//       not fail a gate.
//   Z2  What failed counts: a run that answers fewer requests is worse, however fast it answers the others.
//   Z3  Equal files and seed: equal verdict.
//   Z4  An interval that is not of numbers gets no verdict but that.

import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as z from 'zod'
import { createRandom } from './random.js'
import { PROFILE_LINES, SUMMARY_JSON } from './report/write.js'
import { ascending, mean, middle, percentile, resample, type Centre } from './statistics.js'
import { TraceError } from './trace-error.js'

export interface ComparedFigure {
  readonly metric: string
  readonly statistic: 'mean' | 'p50' | 'p99' | 'share'
  readonly unit: string
  readonly a: number
  readonly b: number
  /** b/a with its interval; of shares (0 to 1) the difference b - a. */
  readonly change: number
  readonly low: number
  readonly high: number
  /** 'undecided': A was 0 where B was not, so that no ratio tells how much worse it is. */
  readonly verdict: 'same' | 'better' | 'worse' | 'regression' | 'undecided'
}

export interface RunComparison {
  readonly bound: number
  readonly rounds: number
  readonly figures: readonly ComparedFigure[]
  /** Of the whole run, without an interval: shown, never judged. */
  readonly totals: readonly { readonly metric: string; readonly unit: string; readonly a: number; readonly b: number }[]
  readonly hasRegression: boolean
}

export interface CompareOptions {
  readonly bound: number // 0.05: five percent
  readonly seed?: number
}

interface RunFigures {
  // In the order of sending.
  readonly values: ReadonlyMap<string, readonly number[]> // per request, of those that were answered
  readonly failed: readonly number[] // per request: 1 it failed, 0 it did not
  readonly totals: ReadonlyMap<string, { readonly unit: string; readonly avg: number }>
}

const METRICS: readonly { readonly tag: string; readonly unit: string; readonly isHigherBetter: boolean }[] = [
  { tag: 'time_to_first_token', unit: 'ms', isHigherBetter: false },
  { tag: 'time_to_second_token', unit: 'ms', isHigherBetter: false },
  { tag: 'inter_token_latency', unit: 'ms', isHigherBetter: false },
  { tag: 'request_latency', unit: 'ms', isHigherBetter: false },
  { tag: 'output_token_throughput_per_user', unit: 'tokens/sec/user', isHigherBetter: true },
]
const TOTALS = ['request_throughput', 'output_token_throughput', 'goodput', 'benchmark_duration'] as const
const MIN_FOR_P99 = 100 // requests: below, a p99 is the largest value by another name
const MANY = 20_000

export async function compareRuns(folderA: string, folderB: string, options: CompareOptions): Promise<RunComparison> {
  const [a, b] = [await readRun(folderA), await readRun(folderB)]
  const { bound, seed = 1 } = options
  const rounds = Math.max(a.failed.length, b.failed.length) > MANY ? 500 : 2000
  const random = createRandom(seed)
  const figures = METRICS.flatMap(({ tag, unit, isHigherBetter }) => {
    const [before, after] = [a.values.get(tag) ?? [], b.values.get(tag) ?? []]
    if (before.length === 0 || after.length === 0) return []
    const drawn = { a: resample(before, rounds, random), b: resample(after, rounds, random) }
    const statistics = [
      'mean',
      'p50',
      ...(Math.min(before.length, after.length) >= MIN_FOR_P99 ? ['p99' as const] : []),
    ] as const
    return statistics.map((statistic): ComparedFigure => {
      const ratios = drawn.a.map((centre, i) => ratio(drawn.b[i]?.[statistic] ?? NaN, centre[statistic]))
      const own = { a: valueOf(before, statistic), b: valueOf(after, statistic) }
      const found = { metric: tag, statistic, unit, ...own, change: ratio(own.b, own.a), ...middle(ratios) }
      return { ...found, verdict: verdictOf(found, bound, isHigherBetter) }
    })
  })
  const failures = failureFigure(a, b, { bound, rounds, random })
  const all = [...figures, failures]
  return {
    bound,
    rounds,
    figures: all,
    totals: totalsOf(a, b),
    hasRegression: all.some(({ verdict }) => verdict === 'regression'),
  }
}

/** Nothing against nothing is as much. */
const ratio = (b: number, a: number): number => (a === 0 && b === 0 ? 1 : b / a)

function valueOf(values: readonly number[], statistic: keyof Centre): number {
  if (statistic === 'mean') return mean(values)
  return percentile(ascending(values), statistic === 'p50' ? 50 : 99)
}

function verdictOf(
  { low, high }: { readonly low: number; readonly high: number },
  bound: number,
  isHigherBetter: boolean,
): ComparedFigure['verdict'] {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return 'undecided'
  if (isHigherBetter) {
    if (high < 1 - bound) return 'regression'
    return high < 1 ? 'worse' : low > 1 ? 'better' : 'same'
  }
  if (low > 1 + bound) return 'regression'
  return low > 1 ? 'worse' : high < 1 ? 'better' : 'same'
}

interface Drawing {
  readonly bound: number
  readonly rounds: number
  readonly random: () => number
}

/**
 * Shares of failed requests differ by points, not by a factor: none of them may be 0. Drawn one by one: an outage counts
 * by what it failed, though it came in one piece.
 */
function failureFigure(a: RunFigures, b: RunFigures, { bound, rounds, random }: Drawing): ComparedFigure {
  const [before, after] = [resample(a.failed, rounds, random, 1), resample(b.failed, rounds, random, 1)]
  const { low, high } = middle(before.map((centre, i) => (after[i]?.mean ?? NaN) - centre.mean))
  const own = { a: mean(a.failed), b: mean(b.failed) }
  const verdict = low > bound ? 'regression' : low > 0 ? 'worse' : high < 0 ? 'better' : 'same'
  return {
    metric: 'failed_requests',
    statistic: 'share',
    unit: 'ratio',
    ...own,
    change: own.b - own.a,
    low,
    high,
    verdict,
  }
}

const totalsOf = (a: RunFigures, b: RunFigures): RunComparison['totals'] =>
  TOTALS.flatMap((metric) => {
    const [before, after] = [a.totals.get(metric), b.totals.get(metric)]
    return before === undefined || after === undefined
      ? []
      : [{ metric, unit: before.unit, a: before.avg, b: after.avg }]
  })

const lineSchema = z.object({
  metadata: z.object({ was_cancelled: z.boolean().optional(), request_start_ns: z.number().optional() }).optional(),
  metrics: z.record(z.string(), z.object({ value: z.unknown() })).nullable(),
  error: z.unknown().optional(), // AIPerf leaves it out of what was answered
})

async function readRun(folder: string): Promise<RunFigures> {
  const path = join(folder, PROFILE_LINES)
  const sent: { readonly startNs: number; readonly isFailed: boolean; readonly values: readonly unknown[] }[] = []
  let numLines = 0
  try {
    for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      numLines += 1
      if (text.trim() === '') continue
      const line = parseLine(text, `${path}:${numLines}`)
      if (line.metadata?.was_cancelled === true) continue // nobody's fault
      sent.push({
        startNs: line.metadata?.request_start_ns ?? 0,
        isFailed: line.error !== null && line.error !== undefined,
        values: METRICS.map(({ tag }) => line.metrics?.[tag]?.value),
      })
    }
  } catch (error) {
    if (error instanceof TraceError) throw error
    throw new TraceError(
      'invalid_argument',
      `${folder}: want the folder of a report with ${PROFILE_LINES}, found none`,
      {
        cause: error,
      },
    )
  }
  if (sent.length === 0) throw new TraceError('invalid_argument', `${path}: want at least one request, found none`)
  sent.sort((a, b) => a.startNs - b.startNs)
  const answered = sent.filter(({ isFailed }) => !isFailed)
  return {
    values: new Map(
      METRICS.map(({ tag }, i) => [
        tag,
        answered.map(({ values }) => values[i]).filter((value) => typeof value === 'number'),
      ]),
    ),
    failed: sent.map(({ isFailed }) => (isFailed ? 1 : 0)),
    totals: await readTotals(folder),
  }
}

function parseLine(text: string, where: string): z.infer<typeof lineSchema> {
  const value = parse(text)
  const line = lineSchema.safeParse(value)
  if (line.success && typeof value === 'object') return line.data
  throw new TraceError('invalid_argument', `${where}: want a request as AIPerf writes it, found ${text.slice(0, 60)}`)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // told by the caller, who knows where
  }
}

const figureSchema = z.object({ unit: z.string(), avg: z.number() })

/** The summary is optional: other tools' folders may lack it. */
async function readTotals(folder: string): Promise<RunFigures['totals']> {
  const text = await readFile(join(folder, SUMMARY_JSON), 'utf8').catch(() => '{}')
  const summary = z.record(z.string(), z.unknown()).safeParse(parse(text)).data ?? {}
  return new Map(
    TOTALS.flatMap((tag) => {
      const figure = figureSchema.safeParse(summary[tag]).data
      return figure === undefined ? [] : [[tag, figure] as const]
    }),
  )
}
