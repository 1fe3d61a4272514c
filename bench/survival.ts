// `npm run bench:survival`: what a lost expert worker takes from the throughput, and what it costs to be able to lose one.
//
// Two questions, each by pairs that take turns:
//   gone    tokens/s from the moment at which one of four expert workers is killed, over tokens/s with all four
//   price   tokens/s of a cluster that could recover, over one of the same shape without the means (journal, hedging),
//           and what the rest, heartbeats and watching them, takes of a processor while nothing is asked
//
// Not measured here: several machines. Where all workers share a processor, the one that is gone leaves its share of it.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { commandFile } from '../lib/package-files.js'
import { familyOf } from '../test/chaos/process-table.js'
import { takeTurns } from './in-turn.js'
import { describeMachine, machineLine } from './machine.js'
import { table, writeSection } from './report.js'
import { formatMedian, formatNumber, median, ratios } from './statistics.js'
import { runStreams } from './streams.js'
import { startUp, type UpProcess } from './up-process.js'

const USAGE = `usage: npm run bench:survival -- [flags]
  --pairs N       counted pairs of each question (default: 20)
  --streams N     at once (default: 16)
  --tokens N      that each stream decodes (default: 128)
  --only WHICH    gone or price
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

const EXPERTS = 4
const START_TIMEOUT_MS = 60_000
const IDLE_SETTLE_MS = 5_000
const IDLE_MS = 30_000
const SHAPE = ['--transport', 'nats', '--attention', '1', '--replicas', '2', '--draft', 'off']
const WITHOUT_MEANS = ['--journal', 'off', '--hedge', 'off']

const { values: flags } = parseArgs({
  options: {
    pairs: { type: 'string', default: '20' },
    streams: { type: 'string', default: '16' },
    tokens: { type: 'string', default: '128' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

interface Idle {
  readonly processes: number
  readonly cpuShare: number // of one processor, all processes of the cluster
}

interface Pairs {
  readonly title: string
  readonly ours: number[] // tokens/s
  readonly theirs: number[]
}

const notify = (line: string): void => void process.stderr.write(`${line}\n`)

async function main(): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const results: Pairs[] = []
  if (flags.only !== 'price') results.push(await measureGone())
  let idle: Idle | undefined
  if (flags.only !== 'gone') {
    results.push(await measurePrice())
    idle = await measureIdle()
  }
  if (flags.json) return console.log(JSON.stringify({ machine, results, idle }))
  const section = sectionOf(results, idle, machineLine(machine))
  writeSection('survival', section)
  console.log(section)
}

const tokensPerSecond = async (address: string, seed: number): Promise<number> =>
  (await runStreams({ address, streams: Number(flags.streams), tokens: Number(flags.tokens), seed })).tokensPerSecond

/** The first round warms up and is not counted. */
async function inRounds(measure: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round <= Number(flags.pairs); round++) {
    await measure(round)
    notify(`pair ${round} of ${flags.pairs}`)
  }
}

/** The fourth worker is started by hand, so that nobody starts it again when it is killed. */
async function measureGone(): Promise<Pairs> {
  const title = `one of ${EXPERTS} expert workers gone / all there`
  const pairs: Pairs = { title, ours: [], theirs: [] }
  const cluster = `survival-${process.pid}`
  const up = await startUp([...SHAPE, '--drafters', '0', '--experts', `${EXPERTS - 1}`, '--cluster', cluster])
  try {
    await inRounds(async (round) => {
      const worker = serveExpert(up, cluster)
      try {
        await untilServing(up, EXPERTS)
        const all = await tokensPerSecond(up.grpc, round)
        await kill(worker)
        const without = await tokensPerSecond(up.grpc, round)
        if (round === 0) return
        pairs.theirs.push(all)
        pairs.ours.push(without)
      } finally {
        await kill(worker)
      }
      await untilServing(up, EXPERTS - 1)
    })
  } finally {
    await up.stop()
  }
  return pairs
}

async function measurePrice(): Promise<Pairs> {
  const pairs: Pairs = { title: 'able to recover / not', ours: [], theirs: [] }
  const shape = [...SHAPE, '--experts', '2']
  const means = await startUp(shape)
  try {
    const none = await startUp([...shape, ...WITHOUT_MEANS])
    try {
      await inRounds((round) =>
        takeTurns(round, [means, none], async (side) => {
          const speed = await tokensPerSecond(side.grpc, round)
          if (round > 0) (side === means ? pairs.ours : pairs.theirs).push(speed)
        }),
      )
    } finally {
      await none.stop()
    }
  } finally {
    await means.stop()
  }
  return pairs
}

/** What a cluster without work takes: its processes' processor time over a while, once they have settled. */
async function measureIdle(): Promise<Idle> {
  const up = await startUp([...SHAPE, '--experts', '2', '--drafters', '0'])
  try {
    await sleep(IDLE_SETTLE_MS)
    const started = Date.now()
    const before = cpuOf(up.pid)
    await sleep(IDLE_MS)
    const after = cpuOf(up.pid)
    return { processes: after.processes, cpuShare: (after.cpuMs - before.cpuMs) / (Date.now() - started) }
  } finally {
    await up.stop()
  }
}

function cpuOf(root: number): { readonly processes: number; readonly cpuMs: number } {
  const stats = familyOf(root)
  return { processes: stats.length, cpuMs: stats.reduce((sum, { cpuMs }) => sum + cpuMs, 0) }
}

function serveExpert(up: UpProcess, cluster: string): ChildProcess {
  const main = commandFile()
  return spawn(process.execPath, [main, 'serve', 'expert-worker'], {
    env: {
      ...process.env,
      NATS_URL: up.nats ?? '',
      BANYAN_CLUSTER: cluster,
      BANYAN_ID: 'expert-worker-last',
      BANYAN_THREADS: '1',
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/** Waits until so many expert workers are ready and hold shards, and nobody else is thought to be. */
async function untilServing({ http }: UpProcess, count: number): Promise<void> {
  for (const giveUp = Date.now() + START_TIMEOUT_MS; Date.now() < giveUp; await sleep(50)) {
    const status = (await (await fetch(`${http}/cluster`)).json()) as {
      readonly processes: readonly {
        readonly role: string
        readonly state: string
        readonly shards: readonly number[]
      }[]
    } // the documented form
    const experts = status.processes.filter(({ role, state }) => role === 'expert-worker' && state !== 'dead')
    if (experts.length === count && experts.every(({ state, shards }) => state === 'ready' && shards.length > 0)) return
  }
  throw new Error(`want ${count} expert workers that serve within ${START_TIMEOUT_MS} ms`)
}

function sectionOf(results: readonly Pairs[], idle: Idle | undefined, line: string): string {
  const rows = results.map(({ title, ours, theirs }) => [
    title,
    formatNumber(median(ours)),
    formatNumber(median(theirs)),
    formatMedian(ratios(ours, theirs)),
  ])
  return [
    '## What faults cost, and being ready for them',
    '',
    `\`npm run bench:survival\`. ${line} The demonstration model over NATS, one attention worker, two replicas of every shard, no drafts; ${flags.streams} streams of ${flags.tokens} tokens, ${flags.pairs} pairs. Tokens per second, medians; the ratio as median [95 % interval] over the pairs. "Gone" is measured from the moment of the SIGKILL, so that its detection counts.`,
    '',
    table(['A / B', 'A, tokens/s', 'B, tokens/s', 'A / B'], rows),
    ...(idle === undefined
      ? []
      : [
          '',
          `A cluster of ${idle.processes} processes that is asked nothing (heartbeats, watching them, journal leases) takes ${formatNumber(idle.cpuShare * 100)} % of one processor.`,
        ]),
  ].join('\n')
}

if (flags.help) console.log(USAGE)
else await main()
