// One simulation: a cluster, calls, faults; then what came of it.

import { between, createStreams, type Streams } from './chance.js'
import { makeCall, type CallOutcome, type CallPlan } from './calls.js'
import { createCluster, type Cluster, type Place } from './cluster.js'
import { createEventLog } from './event-log.js'
import { healAll, strike, type Fault, type Stage, type Struck } from './faults.js'
import { createMachine, type Machine } from './machine.js'
import { createMemoryStore } from '../../lib/transport/memory-store.js'
import type { MeteredKernels } from './metered-kernels.js'
import { createNetwork } from './network.js'
import type { Shape } from './services.js'
import { createTimeline } from './timeline.js'
import type { Wire } from './door.js'

const START_LIMIT_MS = 60_000
const END_LIMIT_MS = 600_000 // for the last call to end
const LONGEST_WAIT_MS = 125_000 // of a question whose answer was lost
const LAST_LIMIT_MS = 30_000
const SETTLE_MS = 12_000 // a silent process is dead after eight seconds

export interface Plan {
  readonly seed: number
  readonly shape: Shape
  readonly calls: readonly CallPlan[] // times from the cluster's being ready
  readonly faults: readonly Fault[] // likewise
  readonly lastCalls: readonly CallPlan[] // when all is well again
  readonly maxPayloadBytes: number
}

export interface Idle {
  readonly timers: number
  readonly subscriptions: number
}

export interface Outcome {
  readonly plan: Plan
  readonly cluster: Cluster
  readonly calls: readonly CallOutcome[]
  readonly isReady: boolean
  /** Per role, before anything was asked. */
  readonly idle: ReadonlyMap<string, Idle>
  readonly struck: readonly Struck[]
  readonly digest: string
  readonly numMessages: number
  readonly numEvents: number
  readonly simulatedMs: number
}

export interface SimulateOptions {
  readonly metered: MeteredKernels
  readonly write?: ((line: string) => void) | undefined
}

/** Runs the plan to its end, and the cluster until it is quiet again. */
export async function simulate(plan: Plan, { metered, write }: SimulateOptions): Promise<Outcome> {
  const randomFor = createStreams(plan.seed)
  const timeline = createTimeline()
  const log = createEventLog(write)
  const latency = randomFor('latency')
  const network = createNetwork({
    timeline,
    log,
    random: randomFor('network'),
    maxPayloadBytes: plan.maxPayloadBytes,
    faults: () => ({
      latencyMs: between(latency, 0.05, 0.5),
      jitterMs: between(latency, 0.01, 0.3),
      bytesPerMs: 1e6,
      lost: 0,
      duplicated: 0,
      reordered: 0,
    }),
  })
  const records = createMemoryStore({ now: () => timeline.nowMs })
  const { maxPayloadBytes } = plan
  const cluster = createCluster(plan.shape, { timeline, network, log, metered, records, maxPayloadBytes, randomFor })
  const stage: Stage = { timeline, network, cluster, log, struck: [] }
  const isReady = await timeline.runUntil(START_LIMIT_MS, () => cluster.doors().every((door) => door?.engine.isReady()))
  await timeline.runUntil(timeline.nowMs + 3_000, () => false)
  const idle = measureIdle(cluster)
  const beginMs = timeline.nowMs
  for (const fault of plan.faults) timeline.at(beginMs + fault.atMs, () => strike(fault, stage))
  const calls = startCalls(plan, { stage, metered, randomFor })
  const lastFaultMs = Math.max(0, ...plan.faults.map(({ atMs }) => atMs))
  await timeline.runUntil(beginMs + lastFaultMs + 1, () => false)
  const isOver = (): boolean =>
    calls.length === plan.calls.length && calls.every(({ endedMs }) => endedMs !== undefined)
  await timeline.runUntil(beginMs + END_LIMIT_MS, isOver)
  healAll(stage)
  await timeline.runUntil(timeline.nowMs + SETTLE_MS, () => false)
  await timeline.runUntil(timeline.nowMs + LONGEST_WAIT_MS, () => cluster.places.every((place) => isIdle(place, idle)))
  const last = startCalls({ ...plan, calls: plan.lastCalls }, { stage, metered, randomFor }, 'last-client')
  await timeline.runUntil(timeline.nowMs + LAST_LIMIT_MS, () => areOver(last, plan.lastCalls))
  await timeline.runUntil(timeline.nowMs + 1_000, () => false)
  return {
    plan,
    cluster,
    calls: [...calls, ...last],
    isReady,
    idle,
    struck: stage.struck,
    digest: log.digest(),
    numMessages: log.numMessages,
    numEvents: timeline.numEvents,
    simulatedMs: timeline.nowMs,
  }
}

/** Takes back what the simulated processes hold. */
export function dispose({ cluster }: Outcome): void {
  for (const { machine } of cluster.places) machine.kill()
}

const areOver = (calls: readonly CallOutcome[], plans: readonly CallPlan[]): boolean =>
  calls.length === plans.length && calls.every(({ endedMs }) => endedMs !== undefined)

function startCalls(
  plan: Plan,
  { stage, metered, randomFor }: { stage: Stage; metered: MeteredKernels; randomFor: Streams },
  name = 'client',
): CallOutcome[] {
  const { timeline, cluster, log } = stage
  const wireRandom = randomFor('wire')
  const wire: Wire = { timeline, latencyMs: () => between(wireRandom, 0.1, 1) }
  const outcomes: CallOutcome[] = []
  const beginMs = timeline.nowMs
  const newClient = (id: string): Machine =>
    createMachine({ id, incarnation: id, timeline, random: randomFor(id), enter: metered.enter })
  plan.calls.forEach((call, i) => {
    const client = newClient(`${name}-${i}`)
    timeline.at(beginMs + call.atMs, () => {
      outcomes.push(makeCall({ client, wire, doors: cluster.doors, log }, call))
    })
  })
  return outcomes
}

/** Whether nothing is under way there. */
export function isIdle({ role, machine, connection }: Place, idle: ReadonlyMap<string, Idle>): boolean {
  const { timers = 0, subscriptions = 0 } = idle.get(role) ?? {}
  return connection.numOpenRequests === 0 && machine.numTimers <= timers && connection.numSubscriptions <= subscriptions
}

function measureIdle(cluster: Cluster): Map<string, Idle> {
  const idle = new Map<string, Idle>()
  for (const { role, machine, connection } of cluster.places) {
    const before = idle.get(role) ?? { timers: 0, subscriptions: 0 }
    idle.set(role, {
      timers: Math.max(before.timers, machine.numTimers),
      subscriptions: Math.max(before.subscriptions, connection.numSubscriptions),
    })
  }
  return idle
}
