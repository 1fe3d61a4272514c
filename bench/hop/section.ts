// The section `hop` of bench/RESULTS.md.

import { table } from '../report.js'
import { formatNumber, formatSummary, median, ratios, summarise } from '../statistics.js'
import type { HopResult, HopRow } from './measure.js'
import type { Usage } from './usage.js'

export interface HopResults {
  readonly results: readonly HopResult[]
  readonly rounds: number
  readonly numTokens: number
  readonly threads: number
  readonly cores: number
}

export function hopSection({ results, rounds, numTokens, threads, cores }: HopResults, machineLine: string): string {
  return [
    '## What the way between processes costs',
    '',
    `\`npm run bench:hop\`. ${machineLine} int8, ${threads} threads in all, drafts off, greedy, ${numTokens} tokens a stream, ${rounds} rounds in turn after a warm-up, median (minimum – maximum). \`local\`: all services in one process; \`nats\`: router, attention, two expert workers, drafter and nats-server as processes of their own (\`--transport nats --experts 2\`; what they send directly then goes directly here). Speed counts from the requests to the last token of the last stream; the ratio is of the same round.`,
    '',
    table(
      ['model', 'streams', 'local, tokens/s', 'nats, tokens/s', 'nats / local'],
      results.flatMap(({ model, rows }) => rows.map((row) => [model.name, `${row.streams}`, ...speedCells(row)])),
    ),
    '',
    `### Processor time of the NATS cluster (${cores} cores)`,
    '',
    'From /proc/PID/stat, in steps of 10 ms. The share of the wall time is that of one core: a router at 100 % would be what limits the cluster. Idle is the kernel’s count for the whole machine; what is left are other processes, the kernel’s own work and time that a hypervisor took.',
    '',
    table(
      ['model', 'streams', 'who', 'processes', 'CPU, ms per token', 'share of the wall time', 'share of all cores'],
      results.flatMap((result) => result.rows.flatMap((row) => usageCells(result, row, cores))),
    ),
    '',
    '### The same bytes without Banyan',
    '',
    'A layer’s dispatch and gather at the most streams (what the expert workers read and write, over the layers of a step), and a raw NATS fan-out to two responders that carries as much, on the same idle server. `bench/raw` has other sizes.',
    '',
    table(
      [
        'model',
        'bytes to each worker',
        'back from each',
        'fan-out p50 (p90), µs',
        'times the layers, ms',
        'a step over NATS, ms',
      ],
      results.map(baselineCells),
    ),
    '',
    'Not measured: networks between machines, TLS, more than two expert workers, replicas, sampled text.',
  ].join('\n')
}

const speedCells = ({ local, nats }: HopRow): string[] =>
  [local, nats, ratios(nats, local)].map((values) => formatSummary(summarise(values)))

/** A line for everyone who used a core for a measurable time. */
function usageCells({ model, processes }: HopResult, { streams, usage }: HopRow, cores: number): string[][] {
  const line = (who: string, count: string, secondsOf: (one: Usage) => number): string[] => {
    const shares = usage.map((one) => (100 * secondsOf(one)) / one.wallPerToken)
    return [
      model.name,
      `${streams}`,
      who,
      count,
      formatSummary(summarise(usage.map((one) => 1000 * secondsOf(one)))),
      `${formatNumber(median(shares))} %`,
      `${formatNumber(median(shares) / cores)} %`,
    ]
  }
  const roles = [...new Set(usage.flatMap(({ byRole }) => Object.keys(byRole)))]
  const active = roles.filter((role) => usage.some(({ byRole }) => (byRole[role] ?? 0) > 0))
  const countOf = (role: string): number => Math.max(1, processes.filter((process) => process.role === role).length)
  return [
    ...active.map((role) => line(role, `${countOf(role)}`, ({ byRole }) => byRole[role] ?? 0)),
    line('others', '', ({ others }) => others),
    line('idle', '', ({ idle }) => idle),
  ]
}

function baselineCells({ model, rows, layerBytes, fanOut }: HopResult): string[] {
  const most = rows.reduce((best, row) => (row.streams > best.streams ? row : best))
  return [
    model.name,
    `${layerBytes.request}`,
    `${layerBytes.reply}`,
    `${formatNumber(fanOut.p50)} (${formatNumber(fanOut.p90)})`,
    formatNumber((fanOut.p50 * model.layers) / 1000),
    formatNumber((1000 * most.streams) / median(most.nats)),
  ]
}
