// `npm run bench:cluster`: tokens per second and time to first token for 1 and 16 streams, local and NATS, on the demonstration
// model. The clusters stand side by side and are measured in turn, so that a noisy machine disturbs both alike.
//
// Not measured here: other systems, other models, GPUs, networks between machines.

import { parseArgs } from 'node:util'
import { describeMachine, machineLine, type Machine } from './machine.js'
import { table, writeSection } from './report.js'
import { formatNumber, formatSummary, median, ratios, summarise } from './statistics.js'
import { runStreams, type Measurement } from './streams.js'
import { startUp, type UpProcess } from './up-process.js'

const CLUSTERS: Readonly<Record<string, readonly string[]>> = {
  local: ['--transport', 'local', '--draft', 'off'],
  'local, lookup drafts': ['--transport', 'local', '--draft', 'auto'],
  nats: ['--transport', 'nats', '--draft', 'off'],
  'nats, lookup drafts': ['--transport', 'nats', '--draft', 'auto'],
}
const BASELINE = 'local'
const STREAMS = [1, 16] as const

interface Row {
  readonly cluster: string
  readonly streams: number
  readonly measured: Measurement[] // one per round
}

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '7' },
    tokens: { type: 'string', default: '128' },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const clusters = new Map<string, UpProcess>()
  try {
    for (const [name, words] of Object.entries(CLUSTERS)) clusters.set(name, await startUp(words))
    const rows = await measureAll(clusters)
    if (flags.json) console.log(JSON.stringify(rows))
    else report(rows, machine)
  } finally {
    for (const cluster of clusters.values()) await cluster.stop()
  }
}

/** Every cluster in turn, round after round; the first round warms up and is not counted. */
async function measureAll(clusters: ReadonlyMap<string, UpProcess>): Promise<Row[]> {
  const rows = STREAMS.flatMap((streams) =>
    [...clusters.keys()].map((cluster): Row => ({ cluster, streams, measured: [] })),
  )
  for (let round = 0; round <= Number(flags.rounds); round++) {
    for (const { cluster, streams, measured } of rows) {
      const address = clusters.get(cluster)?.grpc ?? ''
      const measurement = await runStreams({ address, streams, tokens: Number(flags.tokens), seed: round })
      if (round > 0) measured.push(measurement)
    }
    process.stderr.write(`round ${round} of ${flags.rounds}\n`)
  }
  return rows
}

function cells({ cluster, streams, measured }: Row, rows: readonly Row[]): string[] {
  const baseline = rows.find((row) => row.cluster === BASELINE && row.streams === streams)?.measured ?? []
  const speeds = measured.map((m) => m.tokensPerSecond)
  const speedUps = ratios(
    speeds,
    baseline.map((m) => m.tokensPerSecond),
  )
  const ttft = formatSummary(summarise(measured.map((m) => m.ttftMs)))
  return [cluster, `${streams}`, formatSummary(summarise(speeds)), formatNumber(median(speedUps)), ttft]
}

function report(rows: readonly Row[], machine: Machine): void {
  const section = [
    '## One process and NATS',
    '',
    `\`npm run bench\`: ${flags.rounds} rounds after a warm-up, the clusters side by side and measured in turn; greedy, ${flags.tokens} tokens a stream, demonstration model in int8.`,
    machineLine(machine),
    'Median (minimum – maximum). `local`: all services in one process; `nats`: router, attention, two expert workers, drafter and nats-server as processes of their own. The ratio is to `local` without drafts in the same round.',
    '',
    table(
      ['cluster', 'streams', 'tokens/s', 'ratio', 'time to first token, ms'],
      rows.map((row) => cells(row, rows)),
    ),
    '',
    'Not measured: sampled text (drafts hit less often there), other models, GPUs, more than one machine.',
  ].join('\n')
  writeSection('cluster', section)
  console.log(section)
}

if (flags.help) {
  console.log('usage: npm run bench:cluster -- [--rounds 7] [--tokens 128] [--json]')
} else await main()
