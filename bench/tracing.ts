// `npm run bench:tracing`: what telling of itself costs the cluster, in processor time per token and in throughput.
//
// Four clusters of one shape take turns: without tracing, with one trace of a hundred, with one of a hundred and those of
// slow requests (of which there are none: what is measured is that all spans are kept until a request turned out fast),
// with every trace. All but the first write records of all requests beside their spans. Processor time is that of all processes of the cluster, its broker
// included, from before the first token until the spans are written.
//
// Not measured here: a collector. Spans go to files.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { familyOf } from '../test/chaos/process-table.js'
import { takeTurns } from './in-turn.js'
import { describeMachine, machineLine } from './machine.js'
import { table, writeSection } from './report.js'
import { formatMedian, formatNumber, median, ratios } from './statistics.js'
import { runStreams } from './streams.js'
import { startUp, type UpProcess } from './up-process.js'

const USAGE = `usage: npm run bench:tracing -- [flags]
  --pairs N       counted rounds (default: 20)
  --streams N     at once (default: 16)
  --tokens N      that each stream decodes (default: 256)
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

const WRITTEN_MS = 1_500 // spans are written every second
const SHAPE = ['--transport', 'nats', '--attention', '1', '--experts', '2', '--draft', 'off', '--drafters', '0']

const { values: flags } = parseArgs({
  options: {
    pairs: { type: 'string', default: '20' },
    streams: { type: 'string', default: '16' },
    tokens: { type: 'string', default: '256' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

interface Variant {
  readonly title: string
  readonly sampler?: Readonly<Record<string, string>> // undefined: nothing is traced
  readonly flags?: readonly string[]
}

const ONE_PERCENT = { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.01' }
const NEVER_MS = '600000' // no request of this bench takes that long

const VARIANTS: readonly Variant[] = [
  { title: 'off' },
  { title: 'one trace of a hundred', sampler: ONE_PERCENT },
  { title: 'one of a hundred, and slow requests', sampler: ONE_PERCENT, flags: ['--trace-slow-ms', NEVER_MS] },
  { title: 'every trace', sampler: { OTEL_TRACES_SAMPLER: 'always_on' } },
]

interface Side {
  readonly title: string
  readonly up: UpProcess
  readonly cpuMsPerToken: number[]
  readonly tokensPerSecond: number[]
}

const notify = (line: string): void => void process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const folder = mkdtempSync(join(tmpdir(), 'banyan-traces-'))
  const sides: Side[] = []
  try {
    for (const variant of VARIANTS) sides.push(await startSide(variant, folder))
    for (let round = 0; round <= Number(flags.pairs); round++) {
      await takeTurns(round, sides, (side) => measure(side, round))
      notify(`round ${round} of ${flags.pairs}`)
    }
  } finally {
    await Promise.allSettled(sides.map(({ up }) => up.stop()))
    rmSync(folder, { recursive: true, force: true })
  }
  const results = sides.map(({ title, cpuMsPerToken, tokensPerSecond }) => ({ title, cpuMsPerToken, tokensPerSecond }))
  if (flags.json) return console.log(JSON.stringify({ machine, results }))
  const section = sectionOf(sides, machineLine(machine))
  writeSection('tracing', section)
  console.log(section)
}

async function startSide({ title, sampler, flags: own = [] }: Variant, folder: string): Promise<Side> {
  const traced = sampler === undefined ? [] : ['--trace-dir', join(folder, title.replaceAll(/\W+/g, '-')), ...own]
  const up = await startUp([...SHAPE, ...traced], { env: sampler })
  return { title, up, cpuMsPerToken: [], tokensPerSecond: [] }
}

/** The first round warms up and is not counted. */
async function measure(side: Side, round: number): Promise<void> {
  const streams = Number(flags.streams)
  const tokens = Number(flags.tokens)
  const before = cpuMsOf(side.up.pid)
  const { tokensPerSecond } = await runStreams({ address: side.up.grpc, streams, tokens, seed: round })
  await sleep(WRITTEN_MS)
  const cpuMs = cpuMsOf(side.up.pid) - before
  if (round === 0) return
  side.cpuMsPerToken.push(cpuMs / (streams * tokens))
  side.tokensPerSecond.push(tokensPerSecond)
}

const cpuMsOf = (root: number): number => familyOf(root).reduce((sum, { cpuMs }) => sum + cpuMs, 0)

function sectionOf(sides: readonly Side[], line: string): string {
  const [off, ...traced] = sides
  if (off === undefined) throw new Error('no side without tracing')
  const row = (side: Side, against: readonly string[]): string[] => [
    side.title,
    formatNumber(median(side.cpuMsPerToken)),
    formatNumber(median(side.tokensPerSecond)),
    ...against,
  ]
  const rows = traced.map((side) =>
    row(side, [
      formatMedian(ratios(side.cpuMsPerToken, off.cpuMsPerToken)),
      formatMedian(ratios(side.tokensPerSecond, off.tokensPerSecond)),
    ]),
  )
  return [
    '## What tracing costs',
    '',
    `\`npm run bench:tracing\`. ${line} The demonstration model over NATS, one attention worker, two expert workers, no drafts; ${flags.streams} streams of ${flags.tokens} tokens, ${flags.pairs} rounds in which the ${VARIANTS.length} clusters take turns. Processor time is that of all processes, user and system, until the spans are written. Medians; ratios as median [95 % interval] over the rounds. The traced clusters write their spans and a record of every request to files. *Slow requests*: \`--trace-slow-ms\` with a bound that none reaches; every span is made and kept until its request turned out fast.`,
    '',
    table(
      ['traces', 'CPU ms/token', 'tokens/s', 'CPU per token / off', 'tokens/s / off'],
      [row(off, ['', '']), ...rows],
    ),
  ].join('\n')
}

if (flags.help) console.log(USAGE)
else await main()
