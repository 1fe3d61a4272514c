// A whole cluster for a test: the real services over a real transport, in this process, on free ports. Over NATS every
// service has a connection of its own, as it would in a process of its own.

import { randomUUID } from 'node:crypto'
import { createActorSystem, type ActorSystemOptions } from '../../lib/actor/system.js'
import { systemClock } from '../../lib/actor/clock.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import type { ActorSystem } from '../../lib/actor/actor.js'
import type { Logger, RouterOptions, RunningRouter, RunningService, ServiceDeps } from '../../lib/config/service.js'
import { openSharedJournal } from '../../lib/config/open-journal.js'
import type { KvFormat } from '../../lib/model/kv-formats.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { createLocalHub, createLocalTransport } from '../../lib/transport/local.js'
import { createMemoryStore } from '../../lib/transport/memory-store.js'
import { createTracing } from '../../lib/tracing/tracing.js'
import { connectNats } from '../../lib/transport/nats.js'
import type { Transport } from '../../lib/transport/transport.js'
import { startAttention } from '../../services/attention/start.js'
import { startDrafter } from '../../services/drafter/start.js'
import { startExpertWorker } from '../../services/expert-worker/start.js'
import { startRouter } from '../../services/router/start.js'
import { eventually } from './eventually.js'
import { demoModel } from './paths.js'
import { weightCache } from './weight-cache.js'

export type Build = Pick<ActorSystemOptions, 'speaks' | 'reads'>

export interface ClusterShape extends Partial<Omit<RouterOptions, 'model'>> {
  readonly nats?: string // URL of a server; absent: the local transport
  readonly model?: string
  readonly weights?: WeightFormat
  readonly routers?: number
  readonly attention?: number
  readonly experts?: number
  readonly drafters?: number
  readonly kvTokens?: number
  readonly kvFormat?: KvFormat
  readonly machineCode?: boolean
  readonly attentionDevice?: string
  readonly expertDevice?: string
  readonly microBatches?: number
  readonly sharedNoise?: boolean
  readonly draftAhead?: boolean
  readonly draftModel?: string
  readonly links?: boolean // over nats
  readonly versions?: (id: string) => Build // of the frame, that a service's build knows
  readonly wrap?: (id: string, transport: Transport) => Transport // a service's connection
  readonly spansTo?: string | undefined // folder for the spans of all services
  readonly neighbours?: boolean // false: frames between services of one process too
}

export type WorkerRole = 'expert-worker' | 'attention' | 'drafter'

export interface TestCluster {
  readonly router: RunningRouter // the first
  readonly routers: readonly RunningRouter[]
  readonly system: ActorSystem // a client's own system on the cluster's bus
  readonly transport: Transport // that system's
  readonly name: string
  /** One more, with the next free index; returns its id. */
  addService(role: WorkerRole): Promise<string>
  drainService(id: string): Promise<void>
  /** Drains a router and starts it anew; resolves when it is ready. */
  restartRouter(index: number): Promise<void>
  stopService(id: string): Promise<void>
  stop(): Promise<void>
}

const JOURNAL_BYTES = 16 * 1024 * 1024 // many clusters share a test's server

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

/** Starts the services and waits until the router is ready. */
export async function startTestCluster(shape: ClusterShape = {}): Promise<TestCluster> {
  const name = `test-${randomUUID().slice(0, 8)}`
  const hub = createLocalHub()
  const closers: (() => Promise<void>)[] = []
  const neighbours: ExpertNeighbours | undefined = shape.neighbours === false ? undefined : new Map()

  const connect = async (id: string): Promise<ServiceDeps> => {
    const connection: Transport =
      shape.nats === undefined
        ? createLocalTransport({ hub })
        : await connectNats({
            url: shape.nats,
            name: `${name}-${id}`,
            link: shape.links === false ? undefined : { host: '127.0.0.1', port: 0 },
          })
    const transport = shape.wrap?.(id, connection) ?? connection
    const common = { clock: systemClock, random: Math.random, cluster: name }
    const system = createActorSystem({ ...common, transport, node: id, ...shape.versions?.(id) })
    const tracing = await createTracing({
      serviceName: 'banyan',
      instanceId: id,
      version: 'test',
      spanFiles: shape.spansTo === undefined ? undefined : { folder: shape.spansTo, name: `spans-${id}` },
      sampler: shape.traceSlowMs === undefined ? 'parentbased_always_on' : 'parentbased_always_off',
      samplerArg: 1,
      slowMs: shape.traceSlowMs,
      follows: !id.startsWith('router-'),
    })
    closers.push(async () => {
      await system.stop()
      await transport.close()
      await tracing.shutdown(5_000)
    })
    return {
      system,
      transport,
      tracer: tracing.tracer,
      keptTraces: tracing.kept,
      logger: silent,
      cluster: name,
      id,
      incarnation: randomUUID(),
      pid: process.pid,
      ...(shape.nats === undefined && { neighbours }),
    }
  }

  const { kvFormat, weights = 'int8' } = shape
  const model = { path: shape.model ?? demoModel, weights, kvFormat, weightCache }
  const services = new Map<string, RunningService>()
  const numExperts = shape.experts ?? 2
  const compute = { model, device: 'cpu', threads: 1, machineCode: shape.machineCode ?? true }
  const numAttention = shape.attention ?? 1
  const routerOptions = { ...routerDefaults, ...shape, model, numAttention, numExperts }
  const memory = createMemoryStore()
  const beginRouter = async (index: number): Promise<RunningRouter> => {
    const deps = await connect(`router-${index}`)
    const journal = { ...deps, journal: 'auto', maxBytes: JOURNAL_BYTES }
    const records = shape.nats === undefined ? memory : await openSharedJournal(journal)
    return startRouter({ ...deps, records }, routerOptions)
  }
  const router = await beginRouter(0)
  const routers = [router]
  for (let i = 1; i < (shape.routers ?? 1); i++) routers.push(await beginRouter(i))
  const starters: Readonly<Record<WorkerRole, (deps: ServiceDeps) => Promise<RunningService>>> = {
    'expert-worker': (deps) => startExpertWorker(deps, { ...compute, device: shape.expertDevice ?? 'cpu' }),
    attention: (deps) =>
      startAttention(deps, {
        ...compute,
        device: shape.attentionDevice ?? 'cpu',
        kvTokens: shape.kvTokens ?? 65_536,
        microBatches: shape.microBatches ?? 1,
        hedge: true,
      }),
    drafter: (deps) =>
      startDrafter(deps, {
        ...compute,
        sources: shape.draft ?? routerDefaults.draft,
        draftModel: shape.draftModel,
        sharedNoise: shape.sharedNoise ?? true,
        ahead: shape.draftAhead ?? true,
      }),
  }
  const taken = new Set<string>() // ids of services that run or start
  const addService = async (role: WorkerRole): Promise<string> => {
    let index = 0
    while (taken.has(`${role}-${index}`)) index += 1
    const id = `${role}-${index}`
    taken.add(id)
    services.set(id, await starters[role](await connect(id)))
    return id
  }
  const take = (id: string): RunningService | undefined => {
    const service = services.get(id)
    services.delete(id)
    taken.delete(id)
    return service
  }
  for (let i = 0; i < numExperts; i++) await addService('expert-worker')
  for (let i = 0; i < numAttention; i++) await addService('attention')
  for (let i = 0; i < (shape.drafters ?? 1); i++) await addService('drafter')
  const { system, transport } = await connect('test-client')
  const untilReady = ({ http }: RunningRouter): Promise<void> =>
    eventually(async () => (await fetch(`${http}/ready`)).status === 200, 'the cluster is ready')
  for (const running of routers) await untilReady(running)

  return {
    router,
    routers,
    system,
    transport,
    name,
    addService,
    drainService: async (id) => take(id)?.drain(),
    restartRouter: async (index) => {
      await routers[index]?.drain()
      routers[index] = await beginRouter(index)
      await untilReady(routers[index])
    },
    stopService: async (id) => take(id)?.stop(),
    stop: async () => {
      for (const running of routers) await running.stop()
      for (const service of services.values()) await service.stop()
      for (const close of closers) await close()
    },
  }
}

const routerDefaults = {
  host: '127.0.0.1',
  httpPort: 0,
  grpcPort: 0,
  apiKeys: [],
  replicas: 1,
  rebalance: true,
  draft: ['auto'],
  draftSharing: 'key',
  acceptance: 'exact',
  maxTreeNodes: 48,
  tokenBudget: 512,
  prefillChunk: 256,
  prefixCache: true,
  maxRunning: 64,
  maxWaiting: 1024,
} satisfies Partial<RouterOptions>
