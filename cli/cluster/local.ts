// A cluster in this process: the same services and the same frames, over the local transport.

import { randomUUID } from 'node:crypto'
import { systemClock, systemRandom } from '../../lib/actor/clock.js'
import type { ActorSystem } from '../../lib/actor/actor.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import { createActorSystem } from '../../lib/actor/system.js'
import {
  attentionOptions,
  drafterOptions,
  expertWorkerOptions,
  metricsAddress,
  routerOptions,
} from '../../lib/config/options.js'
import { tracingOptions } from '../../lib/config/run-service.js'
import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Logger, RunningRouter, RunningService, ServiceDeps } from '../../lib/config/service.js'
import type { OnProgress } from '../../lib/decode/load-progress.js'
import { ClusterError } from '../../lib/errors.js'
import { startMonitor } from '../../lib/metrics/monitor.js'
import { modelName } from '../../lib/model/model-name.js'
import { createTracing } from '../../lib/tracing/tracing.js'
import { createLocalTransport, type LocalHub } from '../../lib/transport/local.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import type { Role } from '../../lib/wire/messages.js'
import { UP_ADDRESS } from '../../lib/wire/subjects.js'
import type { Sizes } from '../../lib/wire/sizes.js'
import { speakingUpTo } from '../../lib/wire/versions.js'
import { startAttention } from '../../services/attention/start.js'
import { startDrafter } from '../../services/drafter/start.js'
import { startExpertWorker } from '../../services/expert-worker/start.js'
import { startRouter } from '../../services/router/start.js'
import { startFleet, type Member } from './fleet.js'
import { metricsPorts } from './metrics-ports.js'
import { routerPorts } from './router-ports.js'
import type { OnLoading, RunningServices } from './services.js'

const TRACING_TIMEOUT_MS = 1_000

export interface LocalOptions {
  readonly config: ClusterConfig
  readonly hub: LocalHub
  readonly records: RecordStore | undefined // of all routers
  readonly createLogger: (id: string) => Logger
  readonly onStarted: () => void // once per service
  readonly onLoading?: OnLoading | undefined
  readonly signal: AbortSignal // ends the start
}

/** A system of its own on the hub, as a process would have. */
export function connectLocal(hub: LocalHub, cluster: string, node: string): ActorSystem {
  const transport = createLocalTransport({ hub })
  return createActorSystem({ transport, clock: systemClock, random: systemRandom, cluster, node })
}

type Running = RunningService | RunningRouter

/** Resolves when every service serves. Throws the first error after the others were stopped. */
export function startLocal(options: LocalOptions): Promise<RunningServices> {
  const { config, hub, createLogger } = options
  const neighbours: ExpertNeighbours = new Map()
  const portOf = metricsPorts(config)
  const connect = async (role: Role, id: string, metricsPort: ClusterConfig['metricsPort']) => {
    const transport = createLocalTransport({ hub })
    const system = createActorSystem({
      transport,
      clock: systemClock,
      random: systemRandom,
      cluster: config.cluster,
      node: id,
      speaks: speakingUpTo(config.wireVersion),
    })
    const { tracer, kept, shutdown } = await createTracing(tracingOptions(config, { role, id, pid: process.pid }))
    const disconnect = async (): Promise<void> => {
      await system.stop()
      await transport.close()
      await shutdown(TRACING_TIMEOUT_MS)
    }
    const monitor = await startMonitor({
      role,
      id,
      pid: process.pid,
      modelName: modelName(config.model),
      address: metricsAddress({ ...config, metricsPort }),
      system,
      transport,
    }).catch(async (error: unknown) => {
      await disconnect() // nobody else knows of it yet
      throw error
    })
    const deps: ServiceDeps = {
      system,
      transport,
      tracer,
      keptTraces: kept,
      logger: createLogger(id),
      cluster: config.cluster,
      id,
      incarnation: randomUUID(),
      pid: process.pid,
      neighbours,
      monitor,
    }
    const close = async (): Promise<void> => {
      await monitor.close()
      await disconnect()
    }
    return { deps, close }
  }

  let queue: Promise<unknown> = Promise.resolve() // one starts at a time: they share this process's loop
  const launch = (role: Role, index: number, sizes: () => Sizes): Member => {
    const metricsPort = portOf(role, index)
    const leaving = new AbortController()
    let close = (): Promise<void> => Promise.resolve()
    const starting = queue.then(async (): Promise<Running> => {
      if (leaving.signal.aborted || options.signal.aborted) throw new ClusterError('cancelled', 'start: interrupted')
      const connected = await connect(role, `${role}-${index}`, metricsPort)
      close = connected.close
      const onLoading: OnProgress = (progress) => options.onLoading?.(`${role}-${index}`, progress)
      const deps = { ...connected.deps, records: options.records, leaving: leaving.signal, onLoading }
      return startService(role, index, { deps, config: { ...config, ...sizes() } })
    })
    queue = starting.catch(() => undefined) // its own `started` tells
    return {
      started: starting.then((service) => ('http' in service ? { http: service.http, grpc: service.grpc } : undefined)),
      leave: async (how) => {
        leaving.abort()
        const service = await starting.catch(() => undefined) // nothing to stop
        await service?.[how]()
        await close()
      },
    }
  }
  return startFleet({ ...options, logger: createLogger(UP_ADDRESS), launch })
}

interface Place {
  readonly deps: ServiceDeps
  readonly config: ClusterConfig
}

function startService(role: Role, index: number, { deps, config }: Place): Promise<Running> {
  switch (role) {
    case 'router':
      return startRouter(deps, routerOptions({ ...config, ...routerPorts(config, index) }))
    case 'expert-worker':
      return startExpertWorker(deps, expertWorkerOptions(config))
    case 'attention':
      return startAttention(deps, attentionOptions(config))
    case 'drafter':
      return startDrafter(deps, drafterOptions(config))
  }
}
