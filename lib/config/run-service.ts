// The life of a service process: settings from the environment, onto the bus, serve, leave when told.
//
// Invariants
//   P1  Started by `up` (a channel is open), it leaves on `up`'s word or when the channel breaks, and signals to the
//       whole process group mean nothing to it: so one Ctrl-C is one drain, and no orphan outlives `up`.
//   P2  Alone, SIGTERM and SIGINT drain it; exit 0 and 130.
//   P3  Whose device is lost leaves at once with exit 1: a new process finds the device again, this one would not.
//   P4  Whatever hangs, the process is gone within a bound after it was told to leave.
//   P5  What was begun at a terminal is ended there: no bar is left behind.

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { systemClock, systemRandom } from '../actor/clock.js'
import { createActorSystem } from '../actor/system.js'
import type { OnProgress } from '../decode/load-progress.js'
import { ClusterError } from '../errors.js'
import { startMonitor } from '../metrics/monitor.js'
import { modelName } from '../model/model-name.js'
import { createLogger } from '../tracing/logger.js'
import { createTracing } from '../tracing/tracing.js'
import { DOOR_SUFFIX } from '../transport/linked-bus.js'
import { connectNats } from '../transport/nats.js'
import type { Role } from '../wire/messages.js'
import { subjects } from '../wire/subjects.js'
import { speakingUpTo } from '../wire/versions.js'
import { drainWaitMs } from './drain-time.js'
import { createLoadBar, openShareBar, type LoadBar } from './load-bar.js'
import { openSharedJournal } from './open-journal.js'
import { orderSchema, type ServiceReport } from './process-messages.js'
import { metricsAddress, natsOptions } from './options.js'
import { resolveConfig } from './resolve.js'
import type { ClusterConfig } from './schema.js'
import type { RunningRouter, RunningService, ServiceDeps } from './service.js'
import { VERSION } from './version.js'
import { within } from './within.js'

const STOP_TIMEOUT_MS = 3_000
const TRACING_TIMEOUT_MS = 1_000
const GIVE_UP_TIMEOUT_MS = 1_000

/** The parts of Node's `process` that a service touches; `main.ts` passes the real one. */
export type ServiceHost = Pick<
  NodeJS.Process,
  'env' | 'pid' | 'stderr' | 'on' | 'exit' | 'send' | 'connected' | 'channel'
>

type Start = (deps: ServiceDeps, config: ClusterConfig) => Promise<RunningService | RunningRouter>

interface Connected {
  readonly deps: ServiceDeps
  readonly close: () => Promise<void>
}

type Farewell = { readonly how: 'drain' | 'stop'; readonly exitCode: number }

/** Runs until told to leave, then exits the process. Failing to start is one line on stderr (or a report to `up`) and exit 1. */
export async function runService(role: Role, host: ServiceHost, start: Start): Promise<never> {
  host.env.ORT_DISABLE_TELEMETRY ??= '1' // the compute engine reports to its maker unless told otherwise
  const told = waitForFarewell(host) // first: what arrives while starting must not be lost
  let lose = (): void => undefined
  const lost = new Promise<Farewell>((resolve) => (lose = () => resolve({ how: 'stop', exitCode: 1 })))
  const farewell = Promise.race([told, lost])
  const bar = barAt(host)
  const exit = (code: number): never => {
    bar?.stop()
    return host.exit(code)
  }
  try {
    const leaving = new AbortController()
    const starting = startService(role, host, start, { lose, leaving: leaving.signal, bar })
    const running = await Promise.race([starting, farewell])
    if ('exitCode' in running) {
      leaving.abort() // nothing was accepted, but a load may have files open
      await within(GIVE_UP_TIMEOUT_MS, starting)
      return exit(running.exitCode)
    }
    const { how, exitCode } = await farewell
    await within(how === 'drain' ? running.drainMs : STOP_TIMEOUT_MS, running.leave(how))
    return exit(exitCode)
  } catch (error) {
    bar?.stop()
    await reportFailure(host, ClusterError.from(error))
    return exit(1)
  }
}

/** A bar where a person watches this very process: `up` has one for all that it started. */
const barAt = (host: ServiceHost): LoadBar | undefined =>
  isSupervised(host) || !host.stderr.isTTY
    ? undefined
    : createLoadBar(
        host.stderr,
        () => openShareBar(host.stderr),
        () => systemClock.monotonicMs(),
      )

interface Starting {
  readonly lose: () => void
  readonly leaving: AbortSignal
  readonly bar: LoadBar | undefined
}

async function startService(role: Role, host: ServiceHost, start: Start, { lose, leaving, bar }: Starting) {
  const { config } = resolveConfig({ env: host.env, machine: { cores: 1 } })
  const id = idOf(role, host.env.BANYAN_ID ?? `${hostname()}-${host.pid}`)
  const { deps, close } = await connectService(role, id, config, { host, bar })
  try {
    const records = role === 'router' ? await openSharedJournal({ ...config, ...deps }) : undefined
    const onDeviceLost = (error: ClusterError): void => {
      deps.logger.error({ error: error.message }, 'the device is lost: leaving')
      lose()
    }
    const onLoading: OnProgress = (progress) => {
      bar?.onLoading(progress)
      host.send?.({ kind: 'service.loading', ...progress } satisfies ServiceReport)
    }
    const service = await start({ ...deps, records, onDeviceLost, leaving, onLoading }, config)
    host.send?.({
      kind: 'service.started',
      ...('http' in service && { http: service.http, grpc: service.grpc }),
    } satisfies ServiceReport)
    deps.logger.info({ role, cluster: config.cluster, pid: host.pid, metrics: deps.monitor?.url }, 'serving')
    return {
      drainMs: config.drainSeconds * 1000,
      leave: async (how: Farewell['how']): Promise<void> => {
        await service[how]()
        await close()
      },
    }
  } catch (error) {
    await within(STOP_TIMEOUT_MS, close())
    throw error
  }
}

/** An id is one token of a subject and begins with its role: that is what a server's permissions go by. */
export function idOf(role: Role, name: string): string {
  const token = name.replace(/[^A-Za-z0-9_-]/g, '-')
  return token.startsWith(`${role}-`) ? token : `${role}-${token}`
}

interface Watched {
  readonly host: ServiceHost
  readonly bar: LoadBar | undefined
}

async function connectService(
  role: Role,
  id: string,
  config: ClusterConfig,
  { host, bar }: Watched,
): Promise<Connected> {
  if (config.nats === undefined) {
    throw new ClusterError(
      'invalid_argument',
      `serve ${role}: want the URL of a NATS server (--nats or NATS_URL), found none`,
    )
  }
  const logger = createLogger({
    level: config.logLevel,
    id,
    isPretty: host.stderr.isTTY,
    write: (line) => (bar === undefined ? host.stderr.write(line) : bar.print(line)),
  })
  const transport = await connectNats({
    ...natsOptions(config, `banyan-${id}`, role),
    link: config.linkHost === 'off' ? undefined : { host: config.linkHost, port: config.linkPort },
    onWait: (why) => logger.warn({ seconds: config.natsWaitSeconds }, `${why} Waiting for it.`),
    onRefused: (what) => {
      const level = what.endsWith(DOOR_SUFFIX) ? 'debug' : 'error' // without a link there is still NATS
      logger[level]({ what }, 'the NATS server does not permit this to its user')
    },
  })
  const system = createActorSystem({
    transport,
    clock: systemClock,
    random: systemRandom,
    cluster: config.cluster,
    node: id,
    speaks: speakingUpTo(config.wireVersion),
  })
  const tracing = await createTracing(tracingOptions(config, { role, id, pid: host.pid }))
  const disconnect = async (): Promise<void> => {
    await system.stop()
    await transport.close()
    await tracing.shutdown(TRACING_TIMEOUT_MS)
  }
  const monitor = await startMonitor({
    role,
    id,
    pid: host.pid,
    modelName: modelName(config.model),
    address: metricsAddress(config),
    system,
    transport,
  }).catch(async (error: unknown) => {
    await within(STOP_TIMEOUT_MS, disconnect())
    throw error
  })
  await transport.advertise({
    name: `banyan-${role}`,
    version: VERSION,
    description: `Banyan ${role}`,
    metadata: { id, cluster: config.cluster, pid: String(host.pid) },
    endpoints: [{ name: 'mailbox', subject: subjects.actor(config.cluster, id) }],
  })
  const deps: ServiceDeps = {
    system,
    transport,
    tracer: tracing.tracer,
    keptTraces: tracing.kept,
    logger,
    cluster: config.cluster,
    id,
    incarnation: randomUUID(),
    pid: host.pid,
    node: config.nodeName,
    monitor,
    drainWaitMs: drainWaitMs(config.drainSeconds),
  }
  const close = async (): Promise<void> => {
    await monitor.close()
    await disconnect()
  }
  return { deps, close }
}

interface Traced {
  readonly role: Role
  readonly id: string
  readonly pid: number
}

/** Where a process's spans go; one file per process, so that no two write to the same. */
export function tracingOptions(config: ClusterConfig, { role, id, pid }: Traced) {
  return {
    serviceName: config.otelServiceName,
    instanceId: id,
    version: VERSION,
    endpoint: config.otelEndpoint,
    spanFiles: config.traceDir === undefined ? undefined : { folder: config.traceDir, name: `spans-${id}-${pid}` },
    sampler: config.otelSampler,
    samplerArg: config.otelSamplerArg,
    slowMs: config.traceSlowMs,
    follows: role !== 'router',
  }
}

/** Whether `up` started this process and holds its channel. */
const isSupervised = (host: ServiceHost): boolean => host.env.BANYAN_SUPERVISED === '1'

function waitForFarewell(host: ServiceHost): Promise<Farewell> {
  const hasParent = isSupervised(host)
  return new Promise((resolve) => {
    host.on('SIGTERM', () => hasParent || resolve({ how: 'drain', exitCode: 0 }))
    host.on('SIGINT', () => hasParent || resolve({ how: 'drain', exitCode: 130 }))
    if (!hasParent) return
    const orphaned = (): void => resolve({ how: 'stop', exitCode: 1 })
    host.on('disconnect', orphaned)
    if (host.connected !== true) orphaned() // `up` died while this process was being born
    host.on('message', (message: unknown) => {
      const order = orderSchema.safeParse(message)
      if (order.success) resolve({ how: order.data.kind === 'service.drain' ? 'drain' : 'stop', exitCode: 0 })
    })
  })
}

async function reportFailure(host: ServiceHost, error: ClusterError): Promise<void> {
  if (host.connected !== true) {
    host.stderr.write(`banyan: ${error.code}: ${error.message}\n`)
    return
  }
  const report = { kind: 'service.failed', ...error.toWire(), details: { ...error.details } } satisfies ServiceReport
  await new Promise<void>((resolve) => host.send?.(report, undefined, undefined, () => resolve()))
}
