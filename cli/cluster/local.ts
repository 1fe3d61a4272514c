// A cluster in this process: the same services and the same frames, over the local transport.

import { randomUUID } from 'node:crypto'
import { systemClock, systemRandom } from '../../lib/actor/clock.js'
import type { ActorSystem } from '../../lib/actor/actor.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import { createActorSystem } from '../../lib/actor/system.js'
import { attentionOptions, drafterOptions, expertWorkerOptions, routerOptions } from '../../lib/config/options.js'
import { tracingOptions } from '../../lib/config/run-service.js'
import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Logger, RunningService, ServiceDeps } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import { createTracing } from '../../lib/tracing/tracing.js'
import { createLocalTransport, type LocalHub } from '../../lib/transport/local.js'
import type { Role } from '../../lib/wire/messages.js'
import { startAttention } from '../../services/attention/start.js'
import { startDrafter } from '../../services/drafter/start.js'
import { startExpertWorker } from '../../services/expert-worker/start.js'
import { startRouter } from '../../services/router/start.js'
import { routerPorts } from './router-ports.js'
import type { RunningServices } from './services.js'
import type { Doors } from './supervise.js'

const TRACING_TIMEOUT_MS = 1_000

export interface LocalOptions {
  readonly config: ClusterConfig
  readonly hub: LocalHub
  readonly createLogger: (id: string) => Logger
  readonly onStarted: () => void // once per service
  readonly signal: AbortSignal // ends the start
}

/** A system of its own on the hub, as a process would have. */
export function connectLocal(hub: LocalHub, cluster: string, node: string): ActorSystem {
  const transport = createLocalTransport({ hub })
  return createActorSystem({ transport, clock: systemClock, random: systemRandom, cluster, node })
}

/** Resolves when every service serves. Throws the first error after the others were stopped. */
export async function startLocal({
  config,
  hub,
  createLogger,
  onStarted,
  signal,
}: LocalOptions): Promise<RunningServices> {
  const services: RunningService[] = [] // in the order of their start
  const closers: (() => Promise<void>)[] = []
  const neighbours: ExpertNeighbours = new Map()
  const connect = (id: string): ServiceDeps => {
    const transport = createLocalTransport({ hub })
    const system = createActorSystem({
      transport,
      clock: systemClock,
      random: systemRandom,
      cluster: config.cluster,
      node: id,
    })
    const { tracer, shutdown } = createTracing(tracingOptions(config, id, process.pid))
    closers.push(
      () => system.stop(),
      () => transport.close(),
      () => shutdown(TRACING_TIMEOUT_MS),
    )
    return {
      system,
      transport,
      tracer,
      logger: createLogger(id),
      cluster: config.cluster,
      id,
      incarnation: randomUUID(),
      pid: process.pid,
      neighbours,
    }
  }
  const leave = async (how: 'drain' | 'stop'): Promise<void> => {
    for (const service of services.splice(0)) await service[how]() // the routers first: they still need the workers
    for (const close of closers.splice(0)) await close()
  }
  const startEach = async <S extends RunningService>(
    role: Role,
    count: number,
    start: (deps: ServiceDeps, index: number) => Promise<S>,
  ) => {
    const started: S[] = []
    for (let i = 0; i < count; i++) {
      if (signal.aborted) throw new ClusterError('cancelled', 'start: interrupted')
      const service = await start(connect(`${role}-${i}`), i)
      services.push(service)
      started.push(service)
      onStarted()
    }
    return started
  }

  try {
    const routers: readonly Doors[] = await startEach('router', config.routers, (deps, i) =>
      startRouter(deps, routerOptions({ ...config, ...routerPorts(config, i) })),
    )
    await startEach('expert-worker', config.experts, (deps) => startExpertWorker(deps, expertWorkerOptions(config)))
    await startEach('attention', config.attention, (deps) => startAttention(deps, attentionOptions(config)))
    await startEach('drafter', config.drafters, (deps) => startDrafter(deps, drafterOptions(config)))
    return { routers: routers.map(({ http, grpc }) => ({ http, grpc })), leave }
  } catch (error) {
    await leave('stop')
    throw error
  }
}
