// An analysis for a terminal.

import { counted } from '../counted.js'
import type { Distribution } from '../statistics.js'
import type { Analysis } from './analyze-trace.js'
import type { Bin } from './bins.js'
import { duration, percent, short, sparkline } from './words.js'

const LABEL = 22
const MIN_BAR = 10
const MAX_BAR = 50
const NAMES = ['avg', 'std', 'min', 'p50', 'p90', 'p95', 'p99', 'max'] as const

const row = (label: string, value: string): string => `  ${label.padEnd(LABEL)}${value}`

export function analysisText(analysis: Analysis, width: number): string {
  const sections = [
    overview(analysis),
    arrivals(analysis, width),
    lengths('prompt tokens', analysis.promptTokens, analysis.promptBins, width),
    lengths('output tokens', analysis.outputTokens, analysis.outputBins, width),
    sharing(analysis),
    sessions(analysis),
    analysis.durationsMs === undefined ? [] : ['recorded durations', row('', spread(analysis.durationsMs, duration))],
  ]
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')
}

function overview({ format, files, requests, skipped, notices, models, ...rest }: Analysis): string[] {
  const names = Object.entries(models).map(([name, count]) => `${name} (${count})`)
  const { promptsOfUnknownLength, answersOfUnknownLength } = rest
  return [
    `${counted(requests, 'request')}, ${format}, ${files.length === 1 ? (files[0] ?? '') : `${files.length} files`}`,
    ...(names.length > 0 ? [row('models', names.join(', '))] : []),
    ...(skipped > 0 ? [row('broken lines left out', String(skipped))] : []),
    ...(promptsOfUnknownLength > 0
      ? [row('prompts as text', `${promptsOfUnknownLength}, of unknown length in tokens`)]
      : []),
    ...(answersOfUnknownLength > 0 ? [row('answers', `${answersOfUnknownLength} of unknown length in tokens`)] : []),
    ...notices.map((notice) => row('note', notice)),
  ]
}

function arrivals({ arrivals: found, requests }: Analysis, width: number): string[] {
  if (found === undefined) return requests > 1 ? ['arrivals', row('', 'no times: they have to come from a rate')] : []
  const { durationMs, requestsPerSecond, outputTokensPerSecond, gapVariation, dispersion, peaks, overTime, gapsMs } =
    found
  const columns = Math.max(MIN_BAR, Math.min(overTime.length, width - LABEL - 2))
  const perColumn = Math.ceil(overTime.length / columns)
  const counts = overTime.reduce<number[]>((sums, { count }, i) => {
    const column = Math.floor(i / perColumn)
    sums[column] = (sums[column] ?? 0) + count
    return sums
  }, [])
  return [
    'arrivals',
    row('duration', duration(durationMs)),
    row('rate', `${short(requestsPerSecond)} requests/s, ${short(outputTokensPerSecond)} output tokens/s`),
    ...peaks.map(({ windowMs, requestsPerSecond: peak }) =>
      row(`peak of ${duration(windowMs)}`, `${short(peak)} requests/s`),
    ),
    row('gaps', spread(gapsMs, duration)),
    row(
      'burstiness',
      `CV of gaps ${short(gapVariation)}, index of dispersion ${short(dispersion)} per ${duration(found.dispersionWindowMs)} (1: Poisson)`,
    ),
    row('over time', sparkline(counts)),
  ]
}

function lengths(title: string, found: Distribution | undefined, bins: readonly Bin[], width: number): string[] {
  if (found === undefined) return []
  return [title, row('total', short(found.sum)), row('', spread(found, short)), ...histogram(bins, width)]
}

const spread = (found: Distribution, show: (value: number) => string): string =>
  NAMES.map((name) => `${name} ${show(found[name])}`).join('  ')

function histogram(bins: readonly Bin[], width: number): string[] {
  const most = Math.max(1, ...bins.map(({ count }) => count))
  const room = Math.max(MIN_BAR, Math.min(MAX_BAR, width - LABEL - 10))
  return bins.map(({ from, to, count }) => {
    const bar = '█'.repeat(Math.round((count / most) * room)) || (count > 0 ? '▏' : '')
    return row(`${short(from)} – ${short(to - 1)}`, `${bar} ${count}`)
  })
}

function sharing({ prefixSharing: found }: Analysis): string[] {
  if (found === undefined) return []
  return [
    'prefix sharing',
    row(
      'blocks',
      `${found.blocks}, ${found.uniqueBlocks} of them different; one is used up to ${found.mostUses} times`,
    ),
    row('tokens seen before', percent(found.sharedTokenRatio)),
    row('ideal cache hit rate', percent(found.idealHitRate)),
  ]
}

function sessions({ sessions: found, requests }: Analysis): string[] {
  if (found === undefined) return []
  return [
    'sessions',
    row('', `${found.count} with ${found.requests} of ${counted(requests, 'request')}`),
    row(
      'turns',
      `avg ${short(found.turns.avg)}  p50 ${short(found.turns.p50)}  p99 ${short(found.turns.p99)}  max ${found.turns.max}`,
    ),
  ]
}
