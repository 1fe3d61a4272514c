// What a trace is like, in numbers: how much, how fast, how evenly, how long, how alike.

import { distribution, type Distribution } from '../statistics.js'
import type { Trace, TraceRequest } from '../trace.js'
import { busiest, evenBins, powerBins, type Bin } from './bins.js'
import { prefixSharingOf, type PrefixSharing } from './prefix-sharing.js'

export interface Arrivals {
  readonly durationMs: number // from the first to the last
  readonly requestsPerSecond: number
  readonly outputTokensPerSecond: number
  readonly gapsMs: Distribution // between arrivals
  /** Standard deviation by mean of the gaps: 0 even, 1 like Poisson, more is bursty. */
  readonly gapVariation: number
  /** Variance by mean of the arrivals per window: 1 like Poisson, more is bursty. */
  readonly dispersion: number
  readonly dispersionWindowMs: number
  readonly peaks: readonly { readonly windowMs: number; readonly requestsPerSecond: number }[]
  readonly overTime: readonly Bin[]
  readonly gapBins: readonly Bin[]
}

export interface Sessions {
  readonly count: number
  readonly requests: number
  readonly turns: Distribution
}

export interface Analysis {
  readonly format: string
  readonly files: readonly string[]
  readonly requests: number
  readonly skipped: number
  readonly notices: readonly string[]
  readonly models: Readonly<Record<string, number>>
  /** Absent where the file has no times, or one request. */
  readonly arrivals?: Arrivals
  readonly promptTokens?: Distribution
  readonly promptBins: readonly Bin[]
  readonly promptsOfUnknownLength: number
  readonly outputTokens?: Distribution
  readonly outputBins: readonly Bin[]
  readonly answersOfUnknownLength: number
  readonly prefixSharing?: PrefixSharing
  readonly sessions?: Sessions
  readonly durationsMs?: Distribution // as recorded
}

const PEAK_WINDOWS_MS = [1_000, 10_000, 60_000]
const MAX_BINS_OVER_TIME = 60
const ARRIVALS_PER_WINDOW = 10
const MS_PER_SECOND = 1000

export function analyzeTrace({ format, files, requests, skipped, notices = [], isUntimed }: Trace): Analysis {
  const prompts = requests.flatMap((request) => promptTokensOf(request) ?? [])
  const outputs = requests.flatMap(({ outputTokens }) => outputTokens ?? [])
  const arrivals = isUntimed === true ? undefined : arrivalsOf(requests, outputs)
  const [promptTokens, outputTokens] = [distribution(prompts), distribution(outputs)]
  const durationsMs = distribution(requests.flatMap(({ durationMs }) => durationMs ?? []))
  const prefixSharing = prefixSharingOf(requests)
  const sessions = sessionsOf(requests)
  return {
    format,
    files,
    requests: requests.length,
    skipped: skipped.length,
    notices,
    models: countBy(requests.flatMap(({ model }) => model ?? [])),
    ...(arrivals && { arrivals }),
    ...(promptTokens && { promptTokens }),
    promptBins: powerBins(prompts),
    promptsOfUnknownLength: requests.length - prompts.length,
    ...(outputTokens && { outputTokens }),
    outputBins: powerBins(outputs),
    answersOfUnknownLength: requests.length - outputs.length,
    ...(prefixSharing && { prefixSharing }),
    ...(sessions && { sessions }),
    ...(durationsMs && { durationsMs }),
  }
}

const promptTokensOf = ({ prompt }: TraceRequest): number | undefined =>
  prompt.kind === 'blocks' ? prompt.numTokens : prompt.kind === 'tokens' ? prompt.tokens.length : undefined

function arrivalsOf(requests: readonly TraceRequest[], outputs: readonly number[]): Arrivals | undefined {
  const times = requests.map(({ arrivalMs }) => arrivalMs)
  const durationMs = times.at(-1) ?? 0
  const gapsMs = distribution(times.slice(1).map((time, i) => time - (times[i] ?? 0)))
  if (gapsMs === undefined || durationMs === 0) return undefined
  const seconds = durationMs / MS_PER_SECOND
  const numWindows = Math.max(1, Math.round(times.length / ARRIVALS_PER_WINDOW))
  const perWindow = distribution(evenBins(times, durationMs, numWindows).map(({ count }) => count))
  return {
    durationMs,
    requestsPerSecond: (times.length - 1) / seconds,
    outputTokensPerSecond: outputs.reduce((sum, count) => sum + count, 0) / seconds,
    gapsMs,
    gapVariation: gapsMs.std / gapsMs.avg,
    dispersion: perWindow === undefined ? 0 : perWindow.std ** 2 / perWindow.avg,
    dispersionWindowMs: durationMs / numWindows,
    peaks: PEAK_WINDOWS_MS.filter((windowMs) => windowMs <= durationMs).map((windowMs) => ({
      windowMs,
      requestsPerSecond: busiest(times, windowMs) / (windowMs / MS_PER_SECOND),
    })),
    overTime: evenBins(times, durationMs, Math.min(MAX_BINS_OVER_TIME, times.length)),
    gapBins: powerBins(times.slice(1).map((time, i) => time - (times[i] ?? 0))),
  }
}

function sessionsOf(requests: readonly TraceRequest[]): Sessions | undefined {
  const turns = Object.values(countBy(requests.flatMap(({ session }) => session ?? [])))
  const found = distribution(turns)
  return found && { count: turns.length, requests: found.sum, turns: found }
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return Object.fromEntries(counts)
}
