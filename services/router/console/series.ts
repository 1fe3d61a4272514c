// What the charts show: latencies, rates and the mean step of about a second each, for as long as a console looks.

import type { SeriesPoint, StepFlow } from '../../../lib/console/frame.js'

const POINT_MS = 1_000
const KEEP_POINTS = 600
const MAX_SAMPLES = 4_096 // per point and kind

/** Gauges at the end of a point. */
export type Gauges = Pick<SeriesPoint, 'running' | 'waiting' | 'kvUsage'>

export interface Series {
  firstToken(sinceStartMs: number): void
  /** Tokens that came at once, so long after those before; undefined: there were none, or nobody looked then. */
  tokens(count: number, sinceLastMs: number | undefined): void
  step(flow: StepFlow): void
  /** Ends a point when its time is over. */
  advance(now: { readonly unixMs: number; readonly monotonicMs: number }, gauges: Gauges): void
  /** Points after the first `count` that there ever were; and how many there are now. */
  since(count: number): { readonly points: readonly SeriesPoint[]; readonly count: number }
}

export function createSeries(startMs: number): Series {
  let points: SeriesPoint[] = []
  let count = 0
  let sinceMs = startMs
  let now = emptyPoint()

  const push = (samples: number[], value: number): void => {
    if (samples.length < MAX_SAMPLES) samples.push(value)
  }

  return {
    firstToken: (sinceStartMs) => push(now.firsts, sinceStartMs),
    tokens: (numTokens, sinceLastMs) => {
      now.numTokens += numTokens
      if (sinceLastMs === undefined) return
      for (let i = 0; i < numTokens; i++) push(now.gaps, sinceLastMs / numTokens)
    },
    step: (flow) => {
      now.flow = now.numSteps === 0 ? flow : addFlows(now.flow, flow)
      now.numSteps += 1
    },
    advance: ({ unixMs, monotonicMs }, gauges) => {
      const tookMs = monotonicMs - sinceMs
      if (tookMs < POINT_MS) return
      const { running, waiting, kvUsage } = gauges
      points = [...points, describe(now, { unixMs, tookMs, running, waiting, kvUsage })].slice(-KEEP_POINTS)
      count += 1
      sinceMs = monotonicMs
      now = emptyPoint()
    },
    since: (known) => ({ points: points.slice(points.length - Math.min(points.length, count - known)), count }),
  }
}

interface OpenPoint {
  readonly firsts: number[]
  readonly gaps: number[]
  numTokens: number
  numSteps: number
  flow: StepFlow
}

const emptyPoint = (): OpenPoint => ({ firsts: [], gaps: [], numTokens: 0, numSteps: 0, flow: NO_FLOW })

const NO_FLOW: StepFlow = {
  durationMs: 0,
  draftMs: 0,
  routerMs: 0,
  hopMs: 0,
  attentionMs: 0,
  expertHopMs: 0,
  expertMs: 0,
  headMs: 0,
  restMs: 0,
  sequences: 0,
  rows: 0,
  emitted: 0,
  drafted: 0,
  accepted: 0,
}

/** Field by field. */
function combine(a: StepFlow, value: (field: keyof StepFlow) => number): StepFlow {
  const sum = { ...a }
  for (const field of Object.keys(NO_FLOW) as (keyof StepFlow)[]) Object.assign(sum, { [field]: value(field) }) // its own keys
  return sum
}

const addFlows = (a: StepFlow, b: StepFlow): StepFlow => combine(a, (field) => a[field] + b[field])

function describe(
  { firsts, gaps, numTokens, numSteps, flow }: OpenPoint,
  end: Gauges & { readonly unixMs: number; readonly tookMs: number },
): SeriesPoint {
  const { unixMs, tookMs, running, waiting, kvUsage } = end
  const ttft = quantiles(firsts)
  const itl = quantiles(gaps)
  return {
    timeMs: unixMs,
    tokensPerSecond: (numTokens * 1_000) / tookMs,
    ttftP50: ttft[0],
    ttftP95: ttft[1],
    itlP50: itl[0],
    itlP95: itl[1],
    running,
    waiting,
    kvUsage,
    steps: numSteps,
    flow: numSteps === 0 ? null : combine(flow, (field) => flow[field] / numSteps),
  }
}

/** Median and 95th percentile (nearest rank); null of nothing. */
function quantiles(samples: readonly number[]): readonly [number | null, number | null] {
  const sorted = Float64Array.from(samples).sort()
  const at = (share: number): number | null => sorted[Math.ceil(share * sorted.length) - 1] ?? null
  return [at(0.5), at(0.95)]
}
