// Starts a whole cluster on this machine and stops it without a trace.
//
// Invariants
//   C1  When it resolves every router serves; when it throws nothing is left running.
//   C2  Clusters that share a NATS server have different names, so that their services never mix.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { openOwnJournal } from '../../lib/config/open-journal.js'
import type { ResolvedConfig } from '../../lib/config/resolve.js'
import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Logger } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import { createLocalHub } from '../../lib/transport/local.js'
import { withoutLogin } from '../../lib/transport/nats-access.js'
import { UP_ADDRESS } from '../../lib/wire/subjects.js'
import { chooseTransport, type ChosenTransport } from './choose-transport.js'
import { joinBus } from './join-bus.js'
import { connectLocal, startLocal } from './local.js'
import { requireMemory } from './require-memory.js'
import { requirePorts } from './require-ports.js'
import { startProcesses } from './processes.js'
import type { OnLoading, RunningServices } from './services.js'
import type { Doors } from './supervise.js'
import { answerAsUp, type UpDuties } from './up-actor.js'
import { waitReady } from './wait-ready.js'

const START_TIMEOUT_MS = 300_000 // a large checkpoint takes a while to read and convert

export interface ClusterContext {
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal // ends the start; the running cluster is ended with `leave`
  readonly createLogger: (id: string) => Logger
  readonly notify: (line: string) => void
  readonly onStarted: () => void // once per service
  readonly onLoading?: OnLoading | undefined
}

export interface RunningCluster {
  readonly routers: readonly [Doors, ...Doors[]] // those of now
  /** Called when a router came, or began to leave. */
  onRouters(listener: () => void): void
  readonly name: string
  readonly nats: string | null // URL of the server, without a login
  readonly transportReason: string
  readonly bus: ActorSystem // a client's own place on the cluster's bus
  leave(how: 'drain' | 'stop'): Promise<void>
}

type Closer = () => Promise<void>

/** Throws `unimplemented`, `failed_precondition`, `deadline_exceeded` or the first service's own error. */
export async function startCluster(resolved: ResolvedConfig, context: ClusterContext): Promise<RunningCluster> {
  const closers: Closer[] = [] // undone in reverse
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  const deadline = AbortSignal.timeout(START_TIMEOUT_MS)
  const bounded = { ...context, signal: AbortSignal.any([context.signal, deadline]), closers }
  try {
    await requirePorts(resolved.config)
    const transport = await chooseTransport(resolved, { ...context, logger: context.createLogger(UP_ADDRESS) })
    if (transport.kind === 'nats') closers.push(() => transport.stop())
    await requireMemory(resolved.config, transport.kind === 'local')
    return describe(transport, await startServing(transport, resolved, bounded), closeAll)
  } catch (error) {
    await closeAll()
    if (!deadline.aborted) throw error
    throw new ClusterError('deadline_exceeded', `start: want a serving cluster within ${START_TIMEOUT_MS} ms`, {
      cause: error,
    })
  }
}

function describe(
  transport: ChosenTransport,
  { services, bus, name, routers }: Serving,
  closeAll: () => Promise<void>,
): RunningCluster {
  let isLeaving = false
  return {
    get routers(): readonly [Doors, ...Doors[]] {
      const [first = routers[0], ...others] = services.routers
      return [first, ...others]
    },
    onRouters: (listener) => services.onRouters(listener),
    name,
    nats: transport.kind === 'nats' ? withoutLogin(transport.url) : null,
    transportReason: transport.reason,
    bus,
    leave: async (how) => {
      const isFirst = !isLeaving
      isLeaving = true
      await services.leave(how) // asked again while draining: `stop` ends what still runs
      if (isFirst) await closeAll()
    },
  }
}

interface Started {
  readonly services: RunningServices
  readonly bus: ActorSystem
  readonly name: string
}

interface Serving extends Started {
  readonly routers: readonly [Doors, ...Doors[]]
}

type StartContext = ClusterContext & { readonly closers: Closer[] }

async function startServing(
  transport: ChosenTransport,
  resolved: ResolvedConfig,
  context: StartContext,
): Promise<Serving> {
  const running: { services?: RunningServices } = {} // once there are some
  const duties: UpDuties = {
    scale: (wanted) => {
      if (running.services === undefined) throw new ClusterError('unavailable', 'scale: the cluster is still starting')
      return running.services.scale(wanted)
    },
  }
  const started = await (transport.kind === 'local'
    ? startHere(resolved, context, duties)
    : startApart(transport.url, resolved, context, duties))
  running.services = started.services
  context.closers.push(() => started.services.leave('stop'))
  const [first, ...others] = started.services.routers
  if (first === undefined) throw new ClusterError('internal', 'want at least one router, found none')
  const routers: readonly [Doors, ...Doors[]] = [first, ...others]
  await waitReady(
    started.bus,
    routers.map((_, index) => `router-${index}`),
    { timeoutMs: START_TIMEOUT_MS, signal: context.signal },
  )
  return { ...started, routers }
}

/** All services in this process. */
async function startHere({ config }: ResolvedConfig, context: StartContext, duties: UpDuties): Promise<Started> {
  const { closers, createLogger, onStarted, onLoading, signal } = context
  const hub = createLocalHub()
  const bus = connectLocal(hub, config.cluster, UP_ADDRESS)
  closers.push(() => bus.stop())
  answerAsUp(bus, config.cluster, duties)
  const records = await openOwnJournal(config.journal, createLogger(UP_ADDRESS))
  if (records !== undefined) closers.push(() => records.close())
  const services = await startLocal({ config, hub, records, createLogger, onStarted, onLoading, signal })
  return { bus, name: config.cluster, services }
}

/** Every service in a process of its own. */
async function startApart(
  url: string,
  resolved: ResolvedConfig,
  context: StartContext,
  duties: UpDuties,
): Promise<Started> {
  const { closers, createLogger, notify, onStarted, onLoading, signal, env } = context
  const { bus, name } = await joinBus({ url, resolved, notify, closers, ...duties })
  const config: ClusterConfig = { ...resolved.config, transport: 'nats', nats: url, cluster: name }
  return {
    bus,
    name,
    services: await startProcesses({ config, env, logger: createLogger(UP_ADDRESS), onStarted, onLoading, signal }),
  }
}
