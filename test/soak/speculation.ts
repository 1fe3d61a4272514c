// `npm run soak:speculation`: whether answers with drafts are those without, over every source, size of trees and transport,
// alone and among 16 streams, with everything that a request can ask for. Exit code 1 where anything differs.

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { table } from '../../bench/report.js'
import { BanyanClient, type Completion, type GenerateRequest } from '../../sdk/src/index.js'
import { startNatsForTest } from '../helpers/nats.js'
import { createRandom } from '../helpers/random.js'
import { startTestCluster, type ClusterShape } from '../helpers/test-cluster.js'
import { compareChoices } from './differences.js'
import { baseRequest, FEATURES, finalRequest, type Draw } from './requests.js'
import { soakShapes, SOURCES, type SoakShape } from './shapes.js'

const USAGE = `usage: npm run soak:speculation -- [flags]
  --tokens N      to compare, at least (default: 100000)
  --seed N        of the requests (default: drawn, and printed)
  --sources LIST  some of ${SOURCES.join()} (default: all)`

const STREAMS = [1, 16]
const PLAIN: ClusterShape = { experts: 1, draft: [], drafters: 0, prefixCache: false }
const SHOWN = 20 // differences

interface Job {
  readonly name: string
  readonly request: GenerateRequest
  readonly want: Completion
}

interface Row {
  readonly cluster: SoakShape
  readonly streams: number
  readonly compared: number
  readonly different: number
  readonly drafted: number
  readonly accepted: number
}

const { values: flags } = parseArgs({
  options: {
    tokens: { type: 'string', default: '100000' },
    seed: { type: 'string', default: `${randomInt(2 ** 32)}` },
    sources: { type: 'string', default: SOURCES.join() },
    help: { type: 'boolean', default: false },
  },
})

const notify = (words: string): void => void process.stderr.write(`${words}\n`)
const numTokens = ({ choices }: Completion): number => choices.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)

async function main(): Promise<void> {
  process.env.ORT_DISABLE_TELEMETRY = '1' // the compute engine would report usage to its maker
  console.log(`seed ${flags.seed}`)
  const nats = await startNatsForTest()
  try {
    const shapes = soakShapes(flags.sources.split(','), nats.url)
    const jobs = await drawJobs(Math.ceil(Number(flags.tokens) / (shapes.length * STREAMS.length)))
    notify(`${jobs.length} requests, ${jobs.reduce((sum, { want }) => sum + numTokens(want), 0)} tokens`)
    const rows: Row[] = []
    for (const [i, shape] of shapes.entries()) {
      rows.push(...(await soak(shape, jobs)))
      notify(`cluster ${i + 1} of ${shapes.length}: ${total(rows)}`)
    }
    report(rows)
  } finally {
    await nats.stop()
  }
}

/** Requests with their answers from the plain cluster, each asked alone, until these have that many tokens. */
function drawJobs(atLeast: number): Promise<Job[]> {
  return withClient(PLAIN, async (client) => {
    const { vocabSize, maxPositions } = await client.modelInfo()
    const draw: Draw = { random: createRandom(Number(flags.seed)), vocabSize, maxPositions }
    const jobs: Job[] = []
    const numFeatures = Object.keys(FEATURES).length
    for (let i = 0, sum = 0; sum < atLeast || i < numFeatures; i++) {
      const before = baseRequest(i, draw)
      const { feature, request } = finalRequest(i, before, await client.complete(before), draw)
      const want = await client.complete(request)
      jobs.push({ name: `request ${i} (${feature})`, request, want })
      sum += numTokens(want)
    }
    return jobs
  })
}

const soak = (cluster: SoakShape, jobs: readonly Job[]): Promise<Row[]> =>
  withClient(cluster.shape, async (client) => {
    const rows: Row[] = []
    for (const streams of STREAMS) {
      const answers = await answerAll(client, jobs, streams)
      rows.push(compareAll({ cluster, streams }, jobs, answers))
    }
    return rows
  })

async function withClient<T>(shape: ClusterShape, use: (client: BanyanClient) => Promise<T>): Promise<T> {
  const cluster = await startTestCluster(shape)
  const client = new BanyanClient({ address: cluster.router.grpc })
  try {
    return await use(client)
  } finally {
    client.close()
    await cluster.stop()
  }
}

/** So many requests at a time, until all are answered. */
async function answerAll(client: BanyanClient, jobs: readonly Job[], streams: number): Promise<readonly Completion[]> {
  const answers: Completion[] = []
  let next = 0
  const stream = async (): Promise<void> => {
    for (let i = next++; i < jobs.length; i = next++) {
      const job = jobs[i]
      if (job !== undefined) answers[i] = await client.complete(job.request)
    }
  }
  await Promise.all(Array.from({ length: streams }, stream))
  return answers
}

let numShown = 0

function compareAll(
  { cluster, streams }: Pick<Row, 'cluster' | 'streams'>,
  jobs: readonly Job[],
  answers: readonly Completion[],
): Row {
  const row = { cluster, streams, compared: 0, different: 0, drafted: 0, accepted: 0 } // adds up
  for (const [i, { name, request, want }] of jobs.entries()) {
    const { count, first } = compareChoices(want.choices, answers[i]?.choices ?? [])
    row.compared += numTokens(want)
    row.different += count
    for (const { stats } of answers[i]?.choices ?? []) {
      row.drafted += stats.drafted
      row.accepted += stats.accepted
    }
    if (count > 0 && numShown++ < SHOWN) notify(`${title(row)}, ${name}: ${first}\n  ${asJson(request)}`)
  }
  return row
}

const title = ({ cluster: { sources, transport, maxTreeNodes }, streams }: Row): string =>
  `${sources}, ${maxTreeNodes} nodes, ${transport}, ${streams} streams`

const asJson = (request: GenerateRequest): string =>
  JSON.stringify(request, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))

function total(rows: readonly Row[]): string {
  const sum = (of: (row: Row) => number): number => rows.reduce((all, row) => all + of(row), 0)
  return `${sum((row) => row.compared)} compared, ${sum((row) => row.different)} different`
}

function report(rows: readonly Row[]): void {
  const heading = ['drafts', 'nodes', 'transport', 'streams', 'tokens compared', 'different', 'drafted', 'accepted']
  const cells = rows.map(({ cluster: { sources, maxTreeNodes, transport }, ...row }) =>
    [sources, maxTreeNodes, transport, row.streams, row.compared, row.different, row.drafted, row.accepted].map(String),
  )
  console.log(table(heading, cells))
  const idle = rows.filter(({ cluster, drafted }) => cluster.sources !== 'off' && drafted === 0)
  if (idle.length > 0) console.log(`nothing was drafted, so little was tried: ${idle.map(title).join('; ')}`)
  console.log(`seed ${flags.seed}: ${total(rows)}`)
  if (rows.some(({ different }) => different > 0)) process.exitCode = 1
}

if (flags.help) console.log(USAGE)
else await main()
