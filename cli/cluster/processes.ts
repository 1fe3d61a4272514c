// A cluster of processes: every service in one of its own, joined by NATS.

import { toEnvironment } from '../../lib/config/environment.js'
import type { ClusterConfig } from '../../lib/config/schema.js'
import type { Logger } from '../../lib/config/service.js'
import type { Role } from '../../lib/wire/messages.js'
import type { Sizes } from '../../lib/wire/sizes.js'
import { divideThreads } from './divide-threads.js'
import { startFleet, type Member } from './fleet.js'
import { metricsPorts } from './metrics-ports.js'
import { routerPorts } from './router-ports.js'
import type { OnLoading, RunningServices } from './services.js'
import { supervise, type Doors } from './supervise.js'

const STOP_TIMEOUT_MS = 4_000

export interface ProcessesOptions {
  readonly config: ClusterConfig // with the NATS server and the cluster's name in it
  readonly env: NodeJS.ProcessEnv
  readonly logger: Logger
  readonly onStarted: () => void // once per service
  readonly onLoading?: OnLoading | undefined
  readonly signal: AbortSignal // ends the start
}

/** Starts all processes; resolves when each serves. Throws the first one's error after the others are gone. */
export function startProcesses(options: ProcessesOptions): Promise<RunningServices> {
  const metricsPort = metricsPorts(options.config)
  return startFleet({
    ...options,
    launch: (role, index, sizes) => launch(options, { role, index, sizes, metricsPort: metricsPort(role, index) }),
  })
}

interface Place {
  readonly role: Role
  readonly index: number
  readonly sizes: () => Sizes
  readonly metricsPort: ClusterConfig['metricsPort']
}

function launch(
  { config, env, logger, onLoading }: ProcessesOptions,
  { role, index, sizes, metricsPort }: Place,
): Member {
  const id = `${role}-${index}`
  const environment = (doors: Doors | undefined): NodeJS.ProcessEnv => {
    const now = { ...config, ...sizes() }
    const settings = {
      ...now,
      ...threadsOf(role, now),
      metricsPort,
      linkPort: 0, // several on one machine
      ...(role === 'router' ? routerPorts(config, index, doors) : {}),
    }
    return { ...env, ...toEnvironment(settings), BANYAN_ID: id, BANYAN_SUPERVISED: '1' }
  }
  const service = supervise({ role, id, environment, logger, onLoading })
  return {
    started: service.started,
    leave: (how) => service.leave(how, how === 'drain' ? config.drainSeconds * 1000 : STOP_TIMEOUT_MS),
  }
}

/** By the numbers of workers that are asked for when the process starts. */
function threadsOf(role: Role, config: ClusterConfig): Partial<ClusterConfig> {
  const shares = divideThreads(config)
  if (role === 'attention') return { threads: shares.attention }
  return role === 'expert-worker' ? { threads: shares.expertWorker } : {}
}
