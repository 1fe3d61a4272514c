// An embedded cluster that lives for one call: free ports, a name of its own, quiet unless asked.

import { randomBytes } from 'node:crypto'
import type { ResolvedConfig } from '../lib/config/resolve.js'
import type { Logger } from '../lib/config/service.js'
import type { ClusterConfig } from '../lib/config/schema.js'
import { createLogger } from '../lib/tracing/logger.js'
import { wantFolder } from './cluster/want-folder.js'
import { startCluster, type ClusterContext, type RunningCluster } from './cluster/start-cluster.js'
import { createStartBar } from './start-bar.js'
import { createShareBar, notify } from './terminal.js'

export const numServices = (config: ClusterConfig): number =>
  config.routers + config.attention + config.experts + config.drafters

/** Log lines of this process on stderr. */
export const stderrLogger = (level: string, id: string): Logger =>
  createLogger({ level, id, isPretty: process.stderr.isTTY, write: (line) => void process.stderr.write(line) })

export interface Watching {
  readonly signal: AbortSignal // ends the start
  readonly isQuiet?: boolean // no bar
}

/** Starts a cluster with a progress bar on a terminal. What it is to write, it can write, or nothing starts. */
export async function startShown(
  resolved: ResolvedConfig,
  { signal, isQuiet = false }: Watching,
): Promise<RunningCluster> {
  const { config } = resolved
  if (config.traceDir !== undefined) wantFolder('trace-dir', config.traceDir)
  const bar = createStartBar(createShareBar(!isQuiet), numServices(config), () => performance.now())
  const context: ClusterContext = {
    env: process.env,
    signal,
    createLogger: (id) => stderrLogger(config.logLevel, id),
    notify,
    onStarted: () => bar.onStarted(),
    onLoading: bar.onLoading,
  }
  try {
    return await startCluster(resolved, context)
  } finally {
    bar.stop()
  }
}

/** Runs `use` with a cluster of its own and takes the cluster down again, whatever happens. */
export async function withCluster<T>(
  resolved: ResolvedConfig,
  watching: Watching,
  use: (cluster: RunningCluster) => Promise<T>,
  changes: Partial<ClusterConfig> = {},
): Promise<T> {
  const { config, origins } = forOneCall(resolved)
  const cluster = await startShown({ config: { ...config, ...changes }, origins }, watching)
  try {
    return await use(cluster)
  } finally {
    await cluster.leave('stop')
  }
}

function forOneCall({ config, origins }: ResolvedConfig): ResolvedConfig {
  return {
    config: {
      ...config,
      host: '127.0.0.1',
      http: 0,
      grpc: 0,
      tlsCert: undefined, // on loopback, for itself
      tlsKey: undefined,
      tlsClientCa: undefined,
      readyFile: undefined,
      metricsPort: 'off', // nobody comes to read
      cluster: origins.cluster === 'default' ? `call-${randomBytes(6).toString('hex')}` : config.cluster,
      logLevel: origins.logLevel === 'default' ? 'warn' : config.logLevel,
    },
    origins,
  }
}
