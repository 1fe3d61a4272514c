// `npm run bench:rebalance`: what it gives that expert shards move to where workers have less to do.
//
// A checkpoint of noise whose gates prefer the experts that one of four expert workers is given at first. Two clusters of
// the same shape side by side, one that moves shards and one that does not, are asked the same in turn: the busiest
// worker's work over the mean, tokens/s, requests that failed, tokens that differ.
//
// Not measured here: several machines. Where all workers share a processor, it is shared evenly already.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { BanyanClient } from '../sdk/src/index.js'
import { skewGates } from '../test/helpers/skewed-model.js'
import { takeTurns } from './in-turn.js'
import { describeMachine, machineLine } from './machine.js'
import { table, writeSection } from './report.js'
import { formatMedian, formatNumber, median, ratios } from './statistics.js'
import { SYNTHETIC_SHAPES, writeSyntheticCheckpoint, type SyntheticShape } from './synthetic.js'
import { startUp, type UpProcess } from './up-process.js'

const USAGE = `usage: npm run bench:rebalance -- [flags]
  --rounds N      counted rounds of both clusters (default: 10)
  --streams N     at once (default: 16)
  --tokens N      that each stream decodes (default: 64)
  --size SIZE     of the checkpoint: ${Object.keys(SYNTHETIC_SHAPES).join(', ')} (default: 0.4)
  --json          prints the results as JSON and leaves bench/RESULTS.md alone`

const EXPERTS = 4
const SETTLE_MS = 180_000 // at most, until shards move no more
const QUIET_ROUNDS = 3 // without a move: it has settled
const START_TIMEOUT_MS = 180_000
const PROMPT_TOKENS = 24

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    streams: { type: 'string', default: '16' },
    tokens: { type: 'string', default: '64' },
    size: { type: 'string', default: '0.4' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

interface Side {
  readonly up: UpProcess
  readonly speeds: number[] // tokens/s
  readonly imbalances: number[] // busiest worker over the mean, of the last window
  numFailed: number
}

interface Placement {
  readonly imbalance: number | null
  readonly moves: number
}

const notify = (line: string): void => void process.stderr.write(`${line}\n`)

async function main(shape: SyntheticShape): Promise<void> {
  const machine = describeMachine() // before: its load is the others’
  const folder = mkdtempSync(join(tmpdir(), 'banyan-rebalance-'))
  try {
    const model = join(folder, 'model')
    writeSyntheticCheckpoint(model, shape, 1)
    skewGates(
      model,
      Array.from({ length: EXPERTS }, (_, i) => `expert-worker-${i}`),
    )
    const [moving, still] = await measure(model, join(folder, 'weights'), shape.vocabSize)
    const numDiffering = differing(moving.answers, still.answers)
    if (flags.json)
      return console.log(JSON.stringify({ machine, moving: moving.side, still: still.side, numDiffering }))
    const section = sectionOf({ moving, still, numDiffering, line: machineLine(machine) })
    writeSection('rebalance', section)
    console.log(section)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

type Answers = readonly (readonly number[])[] // of all rounds and streams

interface Measured {
  readonly side: Side
  readonly answers: Answers
  readonly moves: number
}

async function measure(model: string, weights: string, vocabSize: number): Promise<[Measured, Measured]> {
  const cluster = (rebalance: 'on' | 'off'): Promise<UpProcess> => {
    const where = ['--model', model, '--weight-cache', weights, '--cost-model-file', 'off', '--transport', 'nats']
    const sizes = ['--attention', '1', '--experts', `${EXPERTS}`, '--drafters', '0', '--draft', 'off']
    return startUp([...where, ...sizes, '--rebalance', rebalance], { timeoutMs: START_TIMEOUT_MS })
  }
  const newSide = (up: UpProcess): Side => ({ up, speeds: [], imbalances: [], numFailed: 0 })
  const moving = newSide(await cluster('on'))
  try {
    const still = newSide(await cluster('off'))
    try {
      await untilSettled(moving, vocabSize)
      await runStreams(still, 0, vocabSize)
      const answers = new Map<Side, (readonly number[])[]>([
        [moving, []],
        [still, []],
      ])
      for (const side of [moving, still]) side.speeds.length = 0
      for (let round = 1; round <= Number(flags.rounds); round++) {
        await takeTurns(round, [moving, still], async (side) => {
          answers.get(side)?.push(...(await runStreams(side, round, vocabSize)))
          side.imbalances.push((await placementOf(side.up)).imbalance ?? NaN)
        })
        notify(`round ${round} of ${flags.rounds}`)
      }
      const result = async (side: Side): Promise<Measured> => ({
        side,
        answers: answers.get(side) ?? [],
        moves: (await placementOf(side.up)).moves,
      })
      return [await result(moving), await result(still)]
    } finally {
      await still.up.stop()
    }
  } finally {
    await moving.up.stop()
  }
}

/** Streams run until no shard has moved for some rounds. */
async function untilSettled(side: Side, vocabSize: number): Promise<void> {
  const giveUp = Date.now() + SETTLE_MS
  for (let moves = 0, quiet = 0; quiet < QUIET_ROUNDS;) {
    if (Date.now() > giveUp) throw new Error(`shards still move after ${SETTLE_MS} ms`)
    await runStreams(side, 0, vocabSize)
    const now = await placementOf(side.up)
    quiet = now.moves === moves && moves > 0 ? quiet + 1 : 0
    moves = now.moves
    notify(`settling: ${moves} moves, busiest over mean ${formatNumber(now.imbalance ?? NaN)}`)
    await sleep(500)
  }
}

async function placementOf({ http }: UpProcess): Promise<Placement> {
  const status = (await (await fetch(`${http}/cluster`)).json()) as { readonly placement: Placement } // the documented form
  return status.placement
}

/** The same requests of a round at every cluster; failures are counted, not thrown. */
async function runStreams(side: Side, round: number, vocabSize: number): Promise<Answers> {
  const client = new BanyanClient({ address: side.up.grpc, maxAttempts: 1 })
  const sampling = { temperature: 0, maxTokens: Number(flags.tokens), ignoreEos: true }
  const stream = async (i: number): Promise<number[]> => {
    const tokens: number[] = []
    const prompt = Array.from(
      { length: PROMPT_TOKENS },
      (_, at) => 1 + ((round * 7919 + i * 104_729 + at * 31) % (vocabSize - 1)),
    )
    try {
      for await (const event of client.generate({ tokens: prompt, sampling })) {
        if (event.type === 'chunk') tokens.push(...event.tokenIds)
      }
    } catch (error) {
      side.numFailed += 1
      notify(String(error))
    }
    return tokens
  }
  const startedMs = performance.now()
  const answers = await Promise.all(Array.from({ length: Number(flags.streams) }, (_, i) => stream(i)))
  const numTokens = answers.reduce((sum, { length }) => sum + length, 0)
  side.speeds.push((1000 * numTokens) / (performance.now() - startedMs))
  client.close()
  return answers
}

const differing = (ours: Answers, theirs: Answers): number =>
  ours.filter((tokens, i) => JSON.stringify(tokens) !== JSON.stringify(theirs[i])).length

interface Report {
  readonly moving: Measured
  readonly still: Measured
  readonly numDiffering: number
  readonly line: string
}

function sectionOf({ moving, still, numDiffering, line }: Report): string {
  const row = (title: string, { side }: Measured): string[] => [
    title,
    formatNumber(median(side.imbalances)),
    formatNumber(median(side.speeds)),
    formatMedian(ratios(side.speeds, still.side.speeds)),
    `${side.numFailed}`,
  ]
  return [
    '## Expert shards that move to where there is less to do',
    '',
    `\`npm run bench:rebalance\`. ${line} A checkpoint of noise (${flags.size} GB in int8) whose gates prefer the experts of the two shards that one of ${EXPERTS} expert workers is given at first; one attention worker, no replicas asked for, no drafts, over NATS; ${flags.streams} streams of ${flags.tokens} tokens, ${flags.rounds} rounds, both clusters in turn. Busiest: work of the busiest expert worker over the mean, 1 is even. The ratio as median [95 % interval] over the rounds.`,
    '',
    table(
      ['cluster', 'busiest', 'tokens/s', 'ratio', 'failed'],
      [row('before (`--rebalance off`)', still), row(`after ${moving.moves} moves`, moving)],
    ),
    '',
    `Answers whose tokens differ between the two: ${numDiffering} of ${moving.answers.length}.`,
  ].join('\n')
}

const shape = SYNTHETIC_SHAPES[flags.size]
if (flags.help) console.log(USAGE)
else if (shape === undefined)
  throw new Error(`--size: want one of ${Object.keys(SYNTHETIC_SHAPES).join(', ')}, found ${flags.size}`)
else await main(shape)
