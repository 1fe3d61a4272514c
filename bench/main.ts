// `npm run bench`: tokens per second and time to first token for 1 and 16 streams, local and NATS, on the demonstration
// model. The clusters stand side by side and are measured in turn, so that a noisy machine disturbs both alike.
//
// Not measured here: other systems, other models, GPUs, networks between machines.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runStreams, type Measurement } from './streams.js'
import { startUp, type UpProcess } from './up-process.js'
import { packageRoot } from '../cli/package-root.js'

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
  const clusters = new Map<string, UpProcess>()
  try {
    for (const [name, words] of Object.entries(CLUSTERS)) clusters.set(name, await startUp(words))
    const rows = await measureAll(clusters)
    if (flags.json) console.log(JSON.stringify(rows))
    else report(rows)
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

const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b)
const median = (values: readonly number[]): number => sorted(values)[Math.floor(values.length / 2)] ?? NaN
const spread = (values: readonly number[]): string =>
  `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} – ${Math.max(...values).toFixed(1)})`

function line({ cluster, streams, measured }: Row, rows: readonly Row[]): string {
  const baseline = rows.find((row) => row.cluster === BASELINE && row.streams === streams)?.measured ?? []
  const ratios = measured.map((m, i) => m.tokensPerSecond / (baseline[i]?.tokensPerSecond ?? NaN))
  const speed = spread(measured.map((m) => m.tokensPerSecond))
  const ttft = spread(measured.map((m) => m.ttftMs))
  return `| ${cluster} | ${streams} | ${speed} | ${median(ratios).toFixed(2)} | ${ttft} |`
}

function report(rows: readonly Row[]): void {
  const text = [
    '# Results',
    '',
    `\`npm run bench\`: ${flags.rounds} rounds after a warm-up, the clusters side by side and measured in turn; greedy, ${flags.tokens} tokens a stream, demonstration model in int8.`,
    `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}, commit ${commit()}, ${new Date().toISOString().slice(0, 10)}.`,
    'Median (minimum – maximum). `local`: all services in one process; `nats`: router, attention, two expert workers, drafter and nats-server as processes of their own. The ratio is to `local` without drafts in the same round.',
    '',
    '| cluster | streams | tokens/s | ratio | time to first token, ms |',
    '|---|---|---|---|---|',
    ...rows.map((row) => line(row, rows)),
    '',
    'Not measured: other systems, other models, sampled text (drafts hit less often there), GPUs, more than one machine.',
    '',
  ].join('\n')
  writeFileSync(join(packageRoot(), 'bench', 'RESULTS.md'), text)
  console.log(text)
}

function commit(): string {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: packageRoot(), encoding: 'utf8' }).trim()
}

if (flags.help) {
  console.log('usage: npm run bench -- [--rounds 7] [--tokens 128] [--json]')
} else await main()
