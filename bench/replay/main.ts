// `npm run bench:replay`: whether the replayer keeps its schedule, and whether its figures are the server's own.

import { parseArgs } from 'node:util'
import { describeMachine, machineLine } from '../machine.js'
import { table, writeSection } from '../report.js'
import { formatNumber } from '../statistics.js'
import { crossCheck, type Agreement } from './cross-check.js'
import { measureSchedule } from './schedule.js'
import type { Summary } from '../../replay/src/index.js'

const USAGE = `usage: npm run bench:replay -- [flags]
  --requests N    of the schedule (default: 1000)
  --rate N        a second (default: 50)
  --cross N       requests of the cross-check (default: 200; 0: none)
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

const GOAL_MS = 5
const CROSS_RATE = 8

const { values: flags } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '50' },
    cross: { type: 'string', default: '200' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const machine = describeMachine()
  const [requests, perSecond, numCrossed] = [flags.requests, flags.rate, flags.cross].map(Number) as [
    number,
    number,
    number,
  ] // three texts
  const schedules = []
  for (const arrival of ['constant', 'poisson'] as const) {
    process.stderr.write(`schedule, ${arrival}\n`)
    schedules.push({ arrival, summary: await measureSchedule({ requests, perSecond, arrival }) })
  }
  process.stderr.write('cross-check\n')
  const agreements = numCrossed > 0 ? await crossCheck(numCrossed, CROSS_RATE) : []
  if (flags.json) console.log(JSON.stringify({ machine, schedules, agreements }))
  else writeSection('replay', section(machineLine(machine), schedules, agreements))
}

function section(
  machine: string,
  schedules: readonly { readonly arrival: string; readonly summary: Summary }[],
  agreements: readonly Agreement[],
): string {
  const rows = schedules.map(({ arrival, summary: { lateness, figures } }) => [
    arrival,
    String(figures.request_count?.avg ?? 0),
    formatNumber(figures.achieved_request_rate?.avg ?? NaN),
    ...[lateness?.p50, lateness?.p99, lateness?.max].map((ms) => formatNumber(ms ?? NaN)),
    (lateness?.p99 ?? Infinity) <= GOAL_MS ? 'met' : 'missed',
  ])
  const crossed = agreements.map(({ metric, share, oursMs, serverBucket, bucketsApart }) => [
    `${metric} p${share * 100}`,
    `${formatNumber(oursMs)} ms`,
    `${serverBucket} s`,
    String(bucketsApart),
  ])
  return [
    '## Replay',
    machine,
    `\`npm run bench:replay\`: ${flags.requests} requests at ${flags.rate} a second against an endpoint in another process that answers at once. Lateness is when a request was sent less when it was due; goal: p99 at most ${GOAL_MS} ms.`,
    table(['arrivals', 'answered', 'sent a second', 'lateness p50, ms', 'p99', 'max', 'goal'], rows),
    ...(crossed.length === 0
      ? []
      : [
          `${flags.cross} requests against a cluster over NATS, ${CROSS_RATE} a second: the report's percentiles (from the send) and the bucket of the server's own histogram that holds the same share. Goal: at most one bucket apart.`,
          table(['figure', 'report', "server's bucket", 'buckets apart'], crossed),
        ]),
  ].join('\n\n')
}

if (flags.help) console.log(USAGE)
else await main()
