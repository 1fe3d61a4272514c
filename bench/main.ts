// `npm run bench`: tokens per second and time to first token for 1 and 16 streams, local and NATS, on the demonstration
// model. The two clusters stand side by side and are measured in turn, so that a noisy machine disturbs both alike.
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

const TRANSPORTS = ['local', 'nats'] as const
const STREAMS = [1, 16] as const
type Cell = `${(typeof TRANSPORTS)[number]} ${number}`

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '7' },
    tokens: { type: 'string', default: '128' },
    draft: { type: 'string', default: 'off' },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  const clusters = new Map<string, UpProcess>()
  try {
    for (const transport of TRANSPORTS)
      clusters.set(transport, await startUp(['--transport', transport, '--draft', flags.draft]))
    const table = await measureAll(clusters)
    if (flags.json) console.log(JSON.stringify(table))
    else report(table)
  } finally {
    for (const cluster of clusters.values()) await cluster.stop()
  }
}

async function measureAll(clusters: ReadonlyMap<string, UpProcess>): Promise<Record<Cell, Measurement[]>> {
  const table: Record<string, Measurement[]> = {}
  const rounds = Number(flags.rounds)
  for (let round = -1; round < rounds; round++) {
    for (const streams of STREAMS) {
      for (const transport of TRANSPORTS) {
        const address = clusters.get(transport)?.grpc ?? ''
        const measured = await runStreams({ address, streams, tokens: Number(flags.tokens), seed: round })
        if (round < 0) continue // warm-up
        const cell = `${transport} ${streams}`
        table[cell] = [...(table[cell] ?? []), measured]
      }
    }
    process.stderr.write(`round ${round + 1} of ${rounds}\n`)
  }
  return table
}

const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b)
const median = (values: readonly number[]): number => sorted(values)[Math.floor(values.length / 2)] ?? NaN
const spread = (values: readonly number[]): string =>
  `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} – ${Math.max(...values).toFixed(1)})`

function report(table: Record<string, Measurement[]>): void {
  const rows = Object.entries(table).map(([cell, measured]) => {
    const [transport = '', streams = ''] = cell.split(' ')
    const baseline = table[`local ${streams}`] ?? []
    const ratios = measured.map((m, i) => m.tokensPerSecond / (baseline[i]?.tokensPerSecond ?? NaN))
    const speed = spread(measured.map((m) => m.tokensPerSecond))
    return `| ${transport} | ${streams} | ${speed} | ${median(ratios).toFixed(2)} | ${spread(measured.map((m) => m.ttftMs))} |`
  })
  const text = [
    '# Results',
    '',
    `\`npm run bench\`, ${flags.rounds} interleaved rounds after a warm-up, ${flags.tokens} tokens a stream, drafts ${flags.draft}, demonstration model in int8.`,
    `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}, commit ${commit()}, ${new Date().toISOString().slice(0, 10)}.`,
    'Median (minimum – maximum). `local`: all services in one process; `nats`: router, attention, two expert workers, drafter and nats-server as processes of their own.',
    '',
    '| transport | streams | tokens/s | ratio to local, same round | time to first token, ms |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    'Not measured: other systems (the next issue), other models, GPUs, more than one machine.',
    '',
  ].join('\n')
  writeFileSync(join(packageRoot(), 'bench', 'RESULTS.md'), text)
  console.log(text)
}

function commit(): string {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: packageRoot(), encoding: 'utf8' }).trim()
}

if (flags.help) {
  console.log('usage: npm run bench -- [--rounds 7] [--tokens 128] [--draft off|auto] [--json]')
} else await main()
