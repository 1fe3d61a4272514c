// A whole simulated cluster: the real services, each on a machine of its own, and what restarts them when they die.

import { trace } from '@opentelemetry/api'
import { createActorSystem } from '../../lib/actor/system.js'
import type { Random } from '../../lib/actor/actor.js'
import { randomHex } from '../../lib/actor/random-id.js'
import type { Logger, RouterOptions, RunningService, ServiceDeps } from '../../lib/config/service.js'
import { openCheckpoint } from '../../lib/model/checkpoint.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import { createBusTransport } from '../../lib/transport/bus-transport.js'
import { startAttention } from '../../services/attention/start.js'
import { startDrafter } from '../../services/drafter/start.js'
import { startExpertWorker } from '../../services/expert-worker/start.js'
import { startRouterCore, type RouterCore } from '../../services/router/start.js'
import type { Door } from './door.js'
import type { EventLog } from './event-log.js'
import { createMachine, type Machine } from './machine.js'
import type { MeteredKernels } from './metered-kernels.js'
import type { Link, Network } from './network.js'
import { storeOver } from './store.js'
import type { Timeline } from './timeline.js'

export const ROLES = ['router', 'expert-worker', 'attention', 'drafter'] as const
export type SimulatedRole = (typeof ROLES)[number]

export interface Shape {
  readonly model: string
  readonly weightCache: string // folder
  readonly counts: Readonly<Record<SimulatedRole, number>>
  readonly replicas: number
  readonly draft: boolean
  readonly kvTokens: number
  readonly microBatches: number
  readonly prefixCache: boolean
  readonly prefillChunk: number
  readonly tokenBudget: number
  readonly maxRunning: number
  readonly mixesBuilds: boolean // every second life is of the build that knows version 1 of the frame alone
}

export interface Surroundings {
  readonly timeline: Timeline
  readonly network: Network
  readonly log: EventLog
  readonly metered: MeteredKernels
  readonly records: RecordStore // that outlive every process
  /** A stream of chance for each name. */
  readonly randomFor: (name: string) => Random
}

/** A process as the supervisor sees it: one place, one life after the other. */
export interface Place {
  readonly id: string
  readonly role: SimulatedRole
  readonly machine: Machine
  readonly link: Link
  /** Once it serves, and until it is told to leave. */
  readonly router: RouterCore | undefined
  readonly isStarted: boolean
  /** Why its start failed. */
  readonly failure: unknown
  readonly lives: number
}

export interface Cluster {
  readonly places: readonly Place[]
  doors(this: void): readonly (Door | undefined)[]
  /** Kills nothing itself: starts a dead process again after so long. */
  restart(place: Place, afterMs: number): void
  /** Lets a process leave in order, then starts it again. */
  drain(place: Place, restartAfterMs: number): void
}

export function createCluster(shape: Shape, surroundings: Surroundings): Cluster {
  const places: MutablePlace[] = []
  for (const role of ROLES) {
    for (let i = 0; i < shape.counts[role]; i++) places.push(start(newPlace(`${role}-${i}`, role), shape, surroundings))
  }
  const { timeline, log } = surroundings
  const again = (place: MutablePlace, afterMs: number): void => {
    const { lives } = place
    timeline.at(timeline.nowMs + afterMs, () => {
      if (place.lives !== lives || place.machine.state !== 'dead') return
      log.note(timeline.nowMs, `${place.id} is started again`)
      start(place, shape, surroundings)
    })
  }
  return {
    places,
    doors: () =>
      places
        .filter(({ role }) => role === 'router')
        .map(({ machine, router }) => (router === undefined ? undefined : { machine, engine: router.engine })),
    restart: (place, afterMs) => again(asMutable(places, place), afterMs),
    drain: (wanted, restartAfterMs) => {
      const place = asMutable(places, wanted)
      const { machine, service } = place
      if (service === undefined) return
      machine.run(() => {
        log.note(timeline.nowMs, `${place.id} drains`)
        void service.drain().finally(() => {
          machine.kill()
          again(place, restartAfterMs)
        })
      })
    },
  }
}

interface MutablePlace extends Place {
  machine: Machine
  link: Link
  router: RouterCore | undefined
  service: Pick<RunningService, 'drain'> | undefined
  isStarted: boolean
  failure: unknown
  lives: number
}

const asMutable = (places: readonly MutablePlace[], { id }: Place): MutablePlace =>
  places.find((place) => place.id === id)!

// `start` gives it a machine and a link before anybody sees it.
const newPlace = (id: string, role: SimulatedRole): MutablePlace =>
  ({ id, role, router: undefined, service: undefined, isStarted: false, failure: undefined, lives: 0 }) as MutablePlace

function start(place: MutablePlace, shape: Shape, surroundings: Surroundings): MutablePlace {
  const { timeline, network, metered, randomFor } = surroundings
  const random = randomFor(`${place.id} life ${(place.lives += 1)}`)
  const machine = createMachine({
    id: place.id,
    incarnation: randomHex(random, 8),
    timeline,
    random,
    enter: metered.enter,
  })
  const link = network.connect(machine)
  Object.assign(place, { machine, link, router: undefined, service: undefined, isStarted: false, failure: undefined })
  machine.onDeath(() => {
    metered.reclaim(machine)
    place.router = undefined
    place.service = undefined
  })
  const deps = depsOf(place, shape, surroundings)
  // An event of its own: what it waits for in its start goes on in this machine, and is charged to it.
  timeline.at(timeline.nowMs, () =>
    machine.run(() => {
      const serve = (service: Pick<RunningService, 'drain'>): void => {
        if (machine.state !== 'dead') Object.assign(place, { service, isStarted: true })
      }
      if (place.role === 'router') return serve(startRouter(place, deps, shape))
      startWorker(place.role, deps, shape).then(serve, (error: unknown) => {
        place.failure = error
      })
    }),
  )
  return place
}

function startRouter(place: MutablePlace, deps: ServiceDeps, shape: Shape): Pick<RunningService, 'drain'> {
  const router = startRouterCore(deps, routerOptions(shape), openCheckpoint(shape.model))
  place.router = router
  router.setState('ready')
  return {
    drain: async () => {
      router.setState('draining')
      await router.engine.drain(25_000)
      router.setState('stopped')
      await router.stop()
    },
  }
}

function startWorker(role: SimulatedRole, deps: ServiceDeps, shape: Shape): Promise<RunningService> {
  const compute = { model: modelOf(shape), device: 'cpu', threads: 1, machineCode: true } as const
  const { kvTokens, microBatches } = shape
  if (role === 'attention') return startAttention(deps, { ...compute, kvTokens, microBatches, hedge: true })
  if (role === 'expert-worker') return startExpertWorker(deps, compute)
  return startDrafter(deps, { ...compute, sources: ['auto'], sharedNoise: true, ahead: true })
}

const modelOf = ({ model: path, weightCache }: Shape) => ({ path, weights: 'int8', weightCache }) as const

function routerOptions(shape: Shape): RouterOptions {
  const { counts, replicas, prefillChunk, tokenBudget, prefixCache, maxRunning } = shape
  return {
    model: modelOf(shape),
    host: 'simulated',
    httpPort: 0,
    grpcPort: 0,
    apiKeys: [],
    numAttention: counts.attention,
    numExperts: counts['expert-worker'],
    replicas,
    rebalance: true,
    draft: shape.draft ? ['auto'] : [],
    draftSharing: 'all',
    acceptance: 'exact',
    maxTreeNodes: 16,
    tokenBudget,
    prefillChunk,
    prefixCache,
    maxRunning,
    maxWaiting: 1024,
  }
}

const VERSION_ONE = { lowest: 1, highest: 1 }

function depsOf(
  { id, machine, link }: Place,
  { mixesBuilds }: Shape,
  { metered, log, timeline, records }: Surroundings,
): ServiceDeps {
  const { clock, random, incarnation } = machine
  const isOlder = mixesBuilds && Number.parseInt(incarnation, 16) % 2 === 0
  const build = isOlder ? { speaks: VERSION_ONE, reads: VERSION_ONE } : {}
  const transport = createBusTransport(link.bus, { kind: 'nats', maxMessageBytes: 2 ** 24, clock, random })
  return {
    system: createActorSystem({ transport, clock, random, cluster: 'simulated', node: id, ...build }),
    transport,
    tracer: trace.getTracer('simulation'),
    logger: loggerOf(id, (line) => log.note(timeline.nowMs, line)),
    cluster: 'simulated',
    id,
    incarnation,
    pid: 1,
    kernels: metered.kernels,
    records: storeOver(link, records),
  }
}

function loggerOf(id: string, write: (line: string) => void): Logger {
  const at = (level: string) => (fields: object, text: string) =>
    write(`${id} ${level}: ${text} ${JSON.stringify(fields)}`)
  return { debug: () => undefined, info: at('info'), warn: at('warn'), error: at('error') }
}
