// `npm run soak`: requests come and go for half an hour, some cancelled, while services are killed and paused. Every answer
// must be the expected one (of a cancelled request: its beginning), and no process that lived through it may have grown.
// Exit code 1 where a bound is broken.

import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { table } from '../../bench/report.js'
import { numDiffering, numDuplicated, type Answer } from '../chaos/answer.js'
import { startChaosCluster, type ChaosCluster } from '../chaos/chaos-cluster.js'
import { openDoors, type Doors } from '../chaos/doors.js'
import { expectedAnswers } from '../chaos/expected.js'
import { numOpenFiles, readStat } from '../chaos/process-table.js'
import { drawRequests, type ChaosRequest } from '../chaos/requests.js'
import { createRandom } from '../helpers/random.js'
import { injectFaults } from './faults.js'
import { growthOf, type Growth, type Sample } from './growth.js'

const USAGE = `usage: npm run soak -- [flags]
  --minutes N     how long (default: 30)
  --streams N     at once (default: 12)
  --seed N        of requests, cancels and faults (default: drawn, and printed)
  --faults WHEN   on (default) or off
  --json          prints the result as JSON`

const REQUESTS = 64 // different ones
const CANCEL_SHARE = 0.15
const SAMPLE_EVERY_MS = 5_000
const MAX_THIRDS = 1.03
const MAX_MORE_FILES = 4
const SHAPE = { routers: 2, attention: 2, experts: 2, replicas: 2, drafters: 2, nats: 'private', links: true } as const

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    streams: { type: 'string', default: '12' },
    seed: { type: 'string', default: `${randomInt(2 ** 31)}` },
    faults: { type: 'string', default: 'on' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const notify = (line: string): void => void process.stderr.write(`${line}\n`)

interface Tally {
  answered: number
  cancelled: number
  failed: number
  differing: number
  duplicated: number
}

interface Soak {
  readonly doors: Doors
  readonly requests: readonly ChaosRequest[]
  readonly expected: readonly Answer[]
  readonly random: () => number
  readonly isOver: () => boolean
}

async function main(): Promise<void> {
  notify(`seed ${flags.seed}`)
  const random = createRandom(Number(flags.seed))
  const requests = drawRequests(REQUESTS, Number(flags.seed))
  const expected = await expectedAnswers(requests)
  const cluster = await startChaosCluster(SHAPE)
  const doors = openDoors(cluster.addresses)
  const problems: string[] = []
  try {
    const endMs = Date.now() + Number(flags.minutes) * 60_000
    const isOver = (): boolean => Date.now() >= endMs
    const faults = injectFaults({ cluster, random, isOver: () => flags.faults === 'off' || isOver(), note: notify })
    const sampling = sampleAll(cluster, isOver)
    const tally = await churn({ doors, requests, expected, random, isOver })
    const [numFaults, samples] = await Promise.all([faults, sampling])
    await cluster.settled()
    report({ tally, numFaults, growth: growthOfSurvivors(samples), problems })
  } finally {
    doors.close()
    const { orphans, outcome } = await cluster.end()
    if (orphans.length > 0) problems.push(`left behind: ${orphans.join(', ')}`)
    if (outcome.code !== 0) problems.push(`up ended with ${outcome.code}`)
  }
  for (const problem of problems) notify(problem)
  if (problems.length > 0) process.exitCode = 1
}

/** Streams that ask one random request after the other until time is up. */
async function churn(soak: Soak): Promise<Tally> {
  const tally: Tally = { answered: 0, cancelled: 0, failed: 0, differing: 0, duplicated: 0 }
  const stream = async (at: number): Promise<void> => {
    for (let round = 0; !soak.isOver(); round++) await askOne(soak, `soak-${at}-${round}`, tally)
  }
  await Promise.all(Array.from({ length: Number(flags.streams) }, (_, at) => stream(at)))
  return tally
}

async function askOne({ doors, requests, expected, random }: Soak, id: string, tally: Tally): Promise<void> {
  const index = Math.floor(random() * requests.length)
  const [request, want] = [requests[index], expected[index]]
  if (request === undefined || want === undefined) return
  const cancelAt = random() < CANCEL_SHARE ? 1 + Math.floor(random() * 60) : Infinity
  const controller = new AbortController()
  let count = 0
  const onTokens = (more: number): void => {
    count += more
    if (count >= cancelAt) controller.abort()
  }
  const answer = await doors.ask(request, { id, onTokens, signal: controller.signal })
  const isCancelled = controller.signal.aborted
  const differing = isCancelled ? numDiffering(beginning(want, answer), answer) : numDiffering(want, answer)
  const isFailed = !isCancelled && answer.problem !== undefined
  tally.answered += Number(!isCancelled)
  tally.cancelled += Number(isCancelled)
  tally.failed += Number(isFailed)
  tally.differing += differing
  tally.duplicated += numDuplicated(answer)
  if (isFailed || differing > 0) notify(`request ${request.name} (${id}): ${answer.problem ?? `${differing} differ`}`)
}

/** As much of the expected answer as was received. */
const beginning = (want: Answer, got: Answer): Answer => ({
  ...want,
  choices: want.choices.map((choice, i) => ({
    ...choice,
    tokenIds: choice.tokenIds.slice(0, got.choices[i]?.tokenIds.length ?? 0),
  })),
})

interface Samples {
  readonly id: string
  readonly pid: number
  readonly samples: Sample[]
}

/** Every process of the cluster, until time is up. */
async function sampleAll(cluster: ChaosCluster, isOver: () => boolean): Promise<Samples[]> {
  const all = new Map<string, Samples>()
  while (!isOver()) {
    const nats = cluster.privateNats()
    const own = [{ id: 'up', pid: cluster.up.cli.pid }, ...(nats === undefined ? [] : [nats])]
    for (const { id, pid } of [...own, ...(await cluster.rows())]) {
      const stat = readStat(pid)
      if (stat === undefined) continue
      const series = all.get(`${id} ${pid}`) ?? { id, pid, samples: [] }
      all.set(`${id} ${pid}`, series)
      series.samples.push({ atMs: Date.now(), rssBytes: stat.rssBytes, openFiles: numOpenFiles(pid) })
    }
    await sleep(SAMPLE_EVERY_MS)
  }
  return [...all.values()]
}

/** Of the processes that were there nearly all the time. */
function growthOfSurvivors(all: readonly Samples[]): (Growth & { readonly id: string })[] {
  const most = Math.max(0, ...all.map(({ samples }) => samples.length))
  return all
    .filter(({ samples }) => samples.length >= 0.8 * most)
    .map(({ id, samples }) => ({ id, ...growthOf(samples) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
}

interface Report {
  readonly tally: Tally
  readonly numFaults: number
  readonly growth: readonly (Growth & { readonly id: string })[]
  readonly problems: string[]
}

function report({ tally, numFaults, growth, problems }: Report): void {
  const { answered, cancelled, failed, differing, duplicated } = tally
  if (failed + differing + duplicated > 0) problems.push(`${failed} failed, ${differing} differ, ${duplicated} twice`)
  for (const { id, thirds, moreFiles } of growth) {
    if (thirds > MAX_THIRDS) problems.push(`${id}: median RSS of the last third is ${thirds.toFixed(3)} × the second's`)
    if (moreFiles > MAX_MORE_FILES) problems.push(`${id}: ${moreFiles} more open files`)
  }
  if (flags.json) return console.log(JSON.stringify({ seed: flags.seed, tally, numFaults, growth, problems }))
  const rows = growth.map(({ id, numSamples, medianRssBytes, slopePerHour, thirds, moreFiles }) => [
    id,
    String(numSamples),
    (medianRssBytes / 2 ** 20).toFixed(1),
    `${(slopePerHour * 100).toFixed(1)} %`,
    thirds.toFixed(3),
    String(moreFiles),
  ])
  console.log(
    `seed ${flags.seed}, ${flags.minutes} minutes: ${answered} answered, ${cancelled} cancelled, ${numFaults} faults; ${failed} failed, ${differing} tokens differ, ${duplicated} twice`,
  )
  console.log(table(['process', 'samples', 'RSS, MB', 'slope an hour', 'last third / second', 'more files'], rows))
}

if (flags.help) console.log(USAGE)
else await main()
