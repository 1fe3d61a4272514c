// An analysis as one page that needs nothing else: no script, no font, no picture from elsewhere.

import { counted } from '../counted.js'
import { bars, escapeHtml, lines, type Bar } from '../page/charts.js'
import type { Distribution } from '../statistics.js'
import type { Analysis } from './analyze-trace.js'
import type { Bin } from './bins.js'
import { duration, percent, short } from './words.js'

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2128; --dim: #57606a; --page: #fff; --grid: #d8dee4; --mark: #1f7a4d }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9198a1; --page: #0d1117; --grid: #30363d; --mark: #3fb978 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { text-align: right; padding: .15rem .7rem; border-bottom: 1px solid var(--grid) }
td:first-child, th:first-child { text-align: left } .wide { overflow-x: auto } p, th { color: var(--dim) }
figure { margin: 2rem 0 0 } figcaption { font-size: 1.05rem; font-weight: bold }
svg { width: 100%; height: auto } svg text { font: 11px system-ui, sans-serif; fill: var(--dim) }
.grid { stroke: var(--grid) } .bars { fill: var(--mark) } .line { fill: none; stroke: var(--mark); stroke-width: 2 }
`

const NAMES = ['avg', 'std', 'min', 'p50', 'p90', 'p95', 'p99', 'max'] as const

export function analysisHtml(analysis: Analysis): string {
  const { format, files, requests, notices } = analysis
  const title = `${counted(requests, 'request')}, ${format}`
  return [
    '<!doctype html>',
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">`,
    `<title>${escapeHtml(title)}</title><style>${STYLE}</style></head><body>`,
    `<h1>${escapeHtml(title)}</h1><p>${files.map(escapeHtml).join('<br>')}</p>`,
    ...notices.map((notice) => `<p>${escapeHtml(notice)}</p>`),
    facts(analysis),
    distributions(analysis),
    `<div class="pictures">${pictures(analysis)}</div>`,
    '</body></html>',
    '',
  ].join('\n')
}

function facts({ arrivals, prefixSharing, sessions, requests }: Analysis): string {
  const rows: (readonly [string, string])[] = []
  if (arrivals !== undefined)
    rows.push(
      ['duration', duration(arrivals.durationMs)],
      ['rate', `${short(arrivals.requestsPerSecond)} requests/s`],
      ['output', `${short(arrivals.outputTokensPerSecond)} tokens/s`],
      ...arrivals.peaks.map(
        ({ windowMs, requestsPerSecond }) =>
          [`peak of ${duration(windowMs)}`, `${short(requestsPerSecond)} requests/s`] as const,
      ),
      ['coefficient of variation of the gaps', short(arrivals.gapVariation)],
      ['index of dispersion', `${short(arrivals.dispersion)} per ${duration(arrivals.dispersionWindowMs)}`],
    )
  if (prefixSharing !== undefined)
    rows.push(
      ['blocks', `${prefixSharing.blocks}, ${prefixSharing.uniqueBlocks} different`],
      ['tokens seen before', percent(prefixSharing.sharedTokenRatio)],
      ['ideal cache hit rate', percent(prefixSharing.idealHitRate)],
    )
  if (sessions !== undefined)
    rows.push(
      ['sessions', `${sessions.count} with ${sessions.requests} of ${counted(requests, 'request')}`],
      ['turns per session', `${short(sessions.turns.avg)}, at most ${sessions.turns.max}`],
    )
  const body = rows.map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(value)}</td></tr>`)
  return `<h2>At a glance</h2><table>${body.join('')}</table>`
}

function distributions({ promptTokens, outputTokens, arrivals, durationsMs }: Analysis): string {
  const rows: readonly (readonly [string, Distribution | undefined, (value: number) => string])[] = [
    ['prompt tokens', promptTokens, short],
    ['output tokens', outputTokens, short],
    ['gaps between arrivals', arrivals?.gapsMs, duration],
    ['recorded durations', durationsMs, duration],
  ]
  const body = rows.flatMap(([name, found, show]) =>
    found === undefined
      ? []
      : [`<tr><td>${name}</td>${NAMES.map((key) => `<td>${escapeHtml(show(found[key]))}</td>`).join('')}</tr>`],
  )
  const head = `<tr><th></th>${NAMES.map((name) => `<th>${name}</th>`).join('')}</tr>`
  return `<h2>Distributions</h2><div class="wide"><table>${head}${body.join('')}</table></div>`
}

function pictures({ arrivals, promptBins, outputBins, prefixSharing }: Analysis): string {
  const histogram = (title: string, bins: readonly Bin[], show: (value: number) => string): string =>
    bins.length === 0
      ? ''
      : bars(
          bins.map((bin) => barOf(bin, show)),
          { title, xLabel: '', yLabel: 'requests', showY: short },
        )
  const hits = prefixSharing?.hitRateOverTime.map(([x, y]) => ({ x, y })) ?? []
  return [
    histogram('Requests over time', arrivals?.overTime ?? [], duration),
    histogram('Prompt tokens', promptBins, short),
    histogram('Output tokens', outputBins, short),
    histogram('Gaps between arrivals', arrivals?.gapBins ?? [], duration),
    hits.length > 1
      ? lines([{ label: 'hit rate', color: 'a', points: hits }], {
          title: 'Ideal cache hit rate so far',
          xLabel: '',
          yLabel: '',
          showX: duration,
          showY: percent,
        })
      : '',
  ].join('')
}

const barOf = ({ from, to, count }: Bin, show: (value: number) => string): Bar => ({
  label: show(from),
  title: `${show(from)} to ${show(to)}: ${count}`,
  value: count,
})
