// `node dist/bench/cost-model.js`: how well the router predicts what its next step will take, under a mixed load (prompts
// of 20 to 1000 tokens, 16 to 96 generated, half of them sampled) from 1, 4 and 16 streams and from all of these in turn.
// The baseline predicts what the last step of the same size took.
//
// Not measured here: whether a better prediction makes anything faster; more than one machine; other models.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as z from 'zod'
import { packageRoot } from '../lib/package-files.js'
import { BanyanClient } from '../sdk/src/index.js'
import { describeMachine, machineLine } from './machine.js'
import { table, writeSection } from './report.js'
import { startUp, type UpProcess } from './up-process.js'

const TRANSPORTS = ['local', 'nats'] as const
const LOADS: Readonly<Record<string, readonly number[]>> = { '1': [1], '4': [4], '16': [16], mixed: [1, 4, 16] }
const WINDOW = 512 // steps over which the router computes its error
const GOAL = 0.15
const LONGEST_PROMPT = 16_000 // characters of one question to the tokenizer

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '12' }, // per load, and longer where that has not filled the window
    help: { type: 'boolean', default: false },
  },
})

const statusSchema = z.object({
  stepCost: z.object({
    predictions: z.number(),
    errorMedian: z.number(),
    errorP90: z.number(),
    baselineErrorMedian: z.number(),
  }),
})
const tokensSchema = z.object({ tokens: z.array(z.int()) })
type StepCost = z.infer<typeof statusSchema>['stepCost']

interface Row extends StepCost {
  readonly transport: string
  readonly streams: string
}

interface Load {
  readonly cluster: UpProcess
  readonly tokens: readonly number[] // a text to cut prompts from
  readonly random: () => number
}

async function main(): Promise<void> {
  const rows: Row[] = []
  for (const transport of TRANSPORTS) rows.push(...(await measure(transport)))
  if (flags.json) console.log(JSON.stringify({ machine: describeMachine(), goal: GOAL, rows }))
  else report(rows)
}

/** A cluster that starts without knowledge; the first load warms it up and is not counted. */
async function measure(transport: string): Promise<Row[]> {
  const cluster = await startUp(['--transport', transport, '--cost-model-file', 'off'])
  try {
    const load = { cluster, tokens: await tokenize(cluster.http), random: createRandom(7) }
    await run(load, LOADS.mixed ?? [])
    const rows: Row[] = []
    for (const [streams, phases] of Object.entries(LOADS)) {
      await run(load, phases)
      rows.push({ transport, streams, ...(await stepCost(cluster)) })
      process.stderr.write(`${transport}, ${streams} streams: ${JSON.stringify(rows.at(-1))}\n`)
    }
    return rows
  } finally {
    await cluster.stop()
  }
}

/** For so many seconds a number of streams after the other, half a second each, until the window holds this load only. */
async function run(load: Load, phases: readonly number[]): Promise<void> {
  const started = performance.now()
  const before = await stepCost(load.cluster).catch(() => undefined) // nothing was predicted before the warm-up
  const isDone = async (): Promise<boolean> => {
    const numSteps = (await stepCost(load.cluster)).predictions - (before?.predictions ?? 0)
    return performance.now() - started > 1000 * Number(flags.seconds) && numSteps >= WINDOW
  }
  do for (const streams of phases) await runStreams(load, streams, 500)
  while (!(await isDone()))
}

/** Streams that send one request after the other; ends when the last answer is whole. */
async function runStreams({ cluster, tokens, random }: Load, streams: number, forMs: number): Promise<void> {
  const client = new BanyanClient({ address: cluster.grpc })
  const until = performance.now() + forMs
  const stream = async (): Promise<void> => {
    while (performance.now() < until) {
      const length = Math.round(20 * 50 ** random()) // 20 … 1000, as many short as long ones
      const at = Math.floor(random() * (tokens.length - length))
      const sampling = {
        temperature: random() < 0.5 ? 0 : 0.8,
        maxTokens: 16 + Math.floor(81 * random()),
        ignoreEos: true,
      }
      await client.complete({ tokens: tokens.slice(at, at + length), sampling })
    }
  }
  await Promise.all(Array.from({ length: streams }, stream))
  client.close()
}

async function tokenize(http: string): Promise<readonly number[]> {
  const files = ['docs/architecture.md', 'docs/reference.md', 'proto/banyan/v1/inference.proto']
  const text = files.map((file) => readFileSync(join(packageRoot(), file), 'utf8')).join('\n')
  const headers = { 'content-type': 'application/json' }
  const tokens: number[] = []
  for (let at = 0; at < text.length; at += LONGEST_PROMPT) {
    const body = JSON.stringify({ prompt: text.slice(at, at + LONGEST_PROMPT) })
    const response = await fetch(`${http}/tokenize`, { method: 'POST', headers, body })
    if (!response.ok) throw new Error(`tokenize: ${response.status} ${await response.text()}`)
    tokens.push(...tokensSchema.parse(await response.json()).tokens)
  }
  return tokens
}

const stepCost = async (cluster: UpProcess): Promise<StepCost> =>
  statusSchema.parse(await (await fetch(`${cluster.http}/cluster`)).json()).stepCost

/** A linear congruential generator, 0 ≤ value < 1: the same load in every run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

function report(rows: readonly Row[]): void {
  const heading = ['transport', 'streams', 'median error', 'p90 error', 'baseline: last step of this size', 'goal']
  const cells = rows.map(({ transport, streams, errorMedian, errorP90, baselineErrorMedian }) => [
    transport,
    streams,
    percent(errorMedian),
    percent(errorP90),
    percent(baselineErrorMedian),
    `≤ ${percent(GOAL)}: ${errorMedian <= GOAL ? 'met' : 'missed'}`,
  ])
  const text = [
    '## Predicted step time',
    '',
    `\`node dist/bench/cost-model.js\`: |predicted − actual| / actual over the last ${WINDOW} steps of each load, predicted before each step by a model that started without knowledge and learned on the way. Prompts of 20 to 1000 tokens, 16 to 96 generated, half of them sampled, lookup drafts on, demonstration model in int8. \`mixed\`: 1, 4 and 16 streams in turn.`,
    machineLine(describeMachine()),
    '',
    table(heading, cells),
    '',
    'The baseline’s column is its median error in the same steps. Not measured: other models, GPUs, more than one machine, an otherwise idle machine (every process shares these cores).',
  ].join('\n')
  writeSection('cost-model', text)
  console.log(text)
}

if (flags.help) console.log('usage: node dist/bench/cost-model.js [--seconds 12] [--json]')
else await main()
