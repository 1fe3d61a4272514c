// Clusters of growing size under virtual time: what a change of membership costs, in messages and in time, and that every
// answer is still the one of the quiet run. Nothing is faked but time and network: a golden model is small enough.

import { createMemoryStore } from '../../lib/transport/memory-store.js'
import { between, createStreams, integer } from './chance.js'
import { makeCall, type CallOutcome } from './calls.js'
import { createCluster, type Cluster } from './cluster.js'
import { createMachine } from './machine.js'
import { createNetwork, type Network } from './network.js'
import type { Runner } from './runner.js'
import type { Shape } from './services.js'
import { createTimeline, type Timeline } from './timeline.js'

const NUM_SHARDS = 8
const PATIENCE_MS = 60_000
const CALM_MS = 5_000 // without a change: converged
const SAMPLE_MS = 20
const LOAD_MS = 20_000
const SIZES: readonly Size[] = [
  { experts: 25, attention: 5, routers: 1, requests: 625 },
  { experts: 50, attention: 10, routers: 2, requests: 1_250 },
  { experts: 100, attention: 20, routers: 4, requests: 2_500 },
  { experts: 200, attention: 40, routers: 8, requests: 5_000 },
]

interface Size {
  readonly experts: number
  readonly attention: number
  readonly routers: number
  readonly requests: number
}

interface Cost {
  readonly messages: number // heartbeats left out
  readonly ms: number
}

interface Row extends Size {
  readonly start: Cost
  readonly expertKilled: Cost
  readonly attentionKilled: Cost
  readonly routerKilled: Cost
  readonly heartbeatsPerSecond: number // delivered
  readonly failed: number
  readonly different: number
  readonly cpuSeconds: number
}

/** Runs every size; prints a row of the table after each. */
export async function runScale(runner: Runner, print: (line: string) => void): Promise<boolean> {
  const columns = ['expert workers', 'attention workers', 'routers', 'requests', 'failed', 'different']
  const costs = ['start', 'expert worker killed', 'attention worker killed', 'router killed']
  const head = [...columns, ...costs.map((name) => `${name}: messages, ms`), 'heartbeats/s', 'CPU s']
  print(`| ${head.join(' | ')} |`)
  print(`|${'---|'.repeat(head.length)}`)
  let isWell = true
  for (const size of SIZES) {
    const row = await runSize(runner, size)
    const cost = ({ messages, ms }: Cost): string => `${messages}, ${ms.toFixed(0)}`
    const plain = [row.experts, row.attention, row.routers, row.requests, row.failed, row.different]
    const changes = [row.start, row.expertKilled, row.attentionKilled, row.routerKilled].map(cost)
    print(`| ${[...plain, ...changes, row.heartbeatsPerSecond.toFixed(0), row.cpuSeconds.toFixed(0)].join(' | ')} |`)
    isWell &&= row.failed + row.different === 0
  }
  return isWell
}

interface Scene {
  readonly timeline: Timeline
  readonly cluster: Cluster
  readonly counts: { messages: number; heartbeats: number }
}

async function runSize(runner: Runner, size: Size): Promise<Row> {
  const started = process.cpuUsage()
  const { timeline, cluster, counts, network, randomFor } = build(runner, size)
  const scene = { timeline, cluster, counts }
  const start = await costOf(scene, () => undefined)
  const calls = load({ ...scene, randomFor, runner }, size)
  const before = { ...counts }
  const loadedMs = timeline.nowMs
  await timeline.runUntil(loadedMs + 10 * LOAD_MS, () => calls.length === size.requests && calls.every(isOver))
  const heartbeatsPerSecond = ((counts.heartbeats - before.heartbeats) * 1000) / (timeline.nowMs - loadedMs)
  const kill = (id: string) => costOf(scene, () => cluster.places.find((place) => place.id === id)!.machine.kill())
  const expertKilled = await kill('expert-worker-3')
  const attentionKilled = await kill('attention-1')
  const routerKilled = size.routers > 1 ? await kill('router-1') : { messages: 0, ms: 0 }
  const failed = calls.filter(({ error, crash, endedMs }) => error ?? crash ?? endedMs === undefined).length
  const different = calls.filter((call) => !isRight(runner, call)).length
  for (const { machine } of cluster.places) machine.kill()
  for (const machine of network.links.keys()) machine.kill()
  const { user, system } = process.cpuUsage(started)
  const cpuSeconds = (user + system) / 1e6
  return {
    ...size,
    start,
    expertKilled,
    attentionKilled,
    routerKilled,
    heartbeatsPerSecond,
    failed,
    different,
    cpuSeconds,
  }
}

const isOver = ({ endedMs }: CallOutcome): boolean => endedMs !== undefined

function isRight({ answers }: Runner, { plan, choices }: CallOutcome): boolean {
  return [...answers[plan.index]!].every(
    ([choice, { tokens }]) =>
      choices.get(choice)?.tokens.join() === tokens.join() && choices.get(choice)?.numFinished === 1,
  )
}

function build({ model, metered }: Runner, size: Size) {
  const randomFor = createStreams(size.experts)
  const timeline = createTimeline()
  const counts = { messages: 0, heartbeats: 0 }
  const log = {
    numMessages: 0,
    note: (_: number, what: string, bytes?: Uint8Array): void => {
      if (bytes !== undefined) counts[what.endsWith('.health') ? 'heartbeats' : 'messages'] += 1
    },
    digest: () => '',
  }
  const shape: Shape = {
    form: 'nats',
    ...model,
    counts: { router: size.routers, 'expert-worker': size.experts, attention: size.attention, drafter: 0 },
    replicas: Math.ceil(size.experts / NUM_SHARDS),
    draft: false,
    kvTokens: 65_536,
    microBatches: 1,
    prefixCache: false,
    prefillChunk: 256,
    tokenBudget: 512,
    maxRunning: 64,
    mixesBuilds: false,
  }
  const maxPayloadBytes = 1e6
  const usual = { latencyMs: 0.2, jitterMs: 0.1, bytesPerMs: 1e6, lost: 0, duplicated: 0, reordered: 0 }
  const random = randomFor('network')
  const network: Network = createNetwork({ timeline, log, random, maxPayloadBytes, faults: () => ({ ...usual }) })
  const records = createMemoryStore({ now: () => timeline.nowMs })
  const cluster = createCluster(shape, { timeline, network, log, metered, records, maxPayloadBytes, randomFor })
  return { timeline, cluster, counts, network, randomFor, log }
}

/** Lets a change happen and waits until no router learns anything new; the time to the last thing that one learnt. */
async function costOf({ timeline, cluster, counts }: Scene, change: () => void): Promise<Cost> {
  const beginMs = timeline.nowMs
  const before = counts.messages
  change()
  let known = view(cluster)
  let changedMs = beginMs
  let messages = before
  while (timeline.nowMs < changedMs + CALM_MS || !isServing(cluster)) {
    if (timeline.nowMs > beginMs + PATIENCE_MS) throw new Error('it does not converge')
    await timeline.runUntil(timeline.nowMs + SAMPLE_MS, () => false)
    const now = view(cluster)
    if (now === known) continue
    known = now
    changedMs = timeline.nowMs
    messages = counts.messages
  }
  return { messages: messages - before, ms: changedMs - beginMs }
}

const routersOf = (cluster: Cluster) => cluster.doors().flatMap((door) => (door === undefined ? [] : [door.engine]))

const isServing = (cluster: Cluster): boolean => routersOf(cluster).every((engine) => engine.isReady())

/** What all routers know: the processes and their states, the epochs of their tables. */
function view(cluster: Cluster): string {
  return routersOf(cluster)
    .map((engine) => engine.status())
    .map(
      ({ epoch, processes }) =>
        `${epoch} ${processes.map(({ id, state, shards }) => `${id} ${state} ${shards.join()}`).join(';')}`,
    )
    .join('\n')
}

type Load = Scene & Pick<ReturnType<typeof build>, 'randomFor'> & { readonly runner: Runner }

/** Calls over some seconds; a client makes many of them. */
function load({ timeline, cluster, randomFor, runner }: Load, size: Size): CallOutcome[] {
  const random = randomFor('calls')
  const outcomes: CallOutcome[] = []
  const beginMs = timeline.nowMs
  const log = { numMessages: 0, note: () => undefined, digest: () => '' }
  const wire = { timeline, latencyMs: () => between(random, 0.1, 1) }
  for (let i = 0; i < size.requests; i++) {
    const index = integer(random, 0, runner.requests.length - 1)
    const atMs = beginMs + between(random, 0, LOAD_MS)
    const request = runner.requests[index]!
    const plan = { request, index, atMs, requestId: undefined, deadlineMs: undefined, leaveAfter: undefined }
    timeline.at(atMs, () => {
      const id = `client-${i}`
      const client = createMachine({
        id,
        incarnation: id,
        timeline,
        random: randomFor(id),
        enter: runner.metered.enter,
      })
      const shifted = () => rotate(cluster.doors(), i) // clients begin at different routers
      outcomes.push(makeCall({ client, wire, doors: shifted, log }, plan))
    })
  }
  return outcomes
}

const rotate = <T>(values: readonly T[], by: number): readonly T[] =>
  values.map((_, i) => values[(i + by) % values.length]!)
