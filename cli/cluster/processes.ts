// A cluster of processes: every service in one of its own, joined by NATS.

import { toEnvironment } from '../../lib/config/environment.js'
import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Logger } from '../../lib/config/service.js'
import type { Role } from '../../lib/wire/messages.js'
import { divideThreads } from './divide-threads.js'
import { routerPorts } from './router-ports.js'
import type { RunningServices } from './services.js'
import { supervise, type Doors, type Supervised } from './supervise.js'

const DRAIN_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 4_000

export interface ProcessesOptions {
  readonly config: ClusterConfig // with the NATS server and the cluster's name in it
  readonly env: NodeJS.ProcessEnv
  readonly logger: Logger
  readonly onStarted: () => void // once per service
  readonly signal: AbortSignal // ends the start
}

/** Starts all processes; resolves when each serves. Throws the first one's error after the others are gone. */
export async function startProcesses(options: ProcessesOptions): Promise<RunningServices> {
  const { config } = options
  const shares = divideThreads(config)
  const start = (role: Role, count: number, settings: Partial<ClusterConfig> = {}): Supervised[] =>
    Array.from({ length: count }, (_, i) => superviseOne(options, { role, index: i, settings }))
  const workers = [
    ...start('attention', config.attention, { threads: shares.attention }),
    ...start('expert-worker', config.experts, { threads: shares.expertWorker }),
    ...start('drafter', config.drafters),
  ]
  const routers = start('router', config.routers)
  const leave = async (how: 'drain' | 'stop'): Promise<void> => {
    const timeoutMs = how === 'drain' ? DRAIN_TIMEOUT_MS : STOP_TIMEOUT_MS
    await Promise.all(routers.map((router) => router.leave(how, timeoutMs))) // they still need the workers
    await Promise.all(workers.map((worker) => worker.leave('stop', STOP_TIMEOUT_MS)))
  }
  const abort = (): void => void leave('stop') // every `started` then fails, which ends the wait below
  options.signal.addEventListener('abort', abort, { once: true })
  try {
    const all = [...routers, ...workers].map(({ started }) => started.then((doors) => (options.onStarted(), doors)))
    const doors = await Promise.all(all)
    return { routers: doors.filter((door) => door !== undefined), leave }
  } catch (error) {
    await leave('stop')
    throw error
  } finally {
    options.signal.removeEventListener('abort', abort)
  }
}

function superviseOne(
  { config, env, logger }: ProcessesOptions,
  { role, index, settings }: { readonly role: Role; readonly index: number; readonly settings: Partial<ClusterConfig> },
): Supervised {
  const id = `${role}-${index}`
  const environment = (doors: Doors | undefined): NodeJS.ProcessEnv => {
    const ports = role === 'router' ? routerPorts(config, index, doors) : {}
    return { ...env, ...toEnvironment({ ...config, ...settings, ...ports }), BANYAN_ID: id, BANYAN_SUPERVISED: '1' }
  }
  return supervise({ role, id, environment, logger })
}
