// What a service shows of itself: its registry, and where it was asked for a port that answers for it. Open before the
// service starts, so that a probe is answered while a checkpoint loads.

import type { ActorSystem } from '../actor/actor.js'
import { VERSION } from '../config/version.js'
import type { Transport } from '../transport/transport.js'
import type { Body, Role } from '../wire/messages.js'
import { watchLoopDelay } from './loop-delay.js'
import { json, startMetricsServer, type Answer, type MetricsAddress } from './metrics-server.js'
import { addProcessMetrics } from './process-metrics.js'
import { createMetricsRegistry, type MetricsRegistry } from './registry.js'

const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8'

/** What a service says of itself now. */
export interface Health {
  readonly isReady: boolean // it can serve, and is on the bus
  readonly heartbeat: Body<'worker.heartbeat'>
}

export interface Monitor {
  readonly registry: MetricsRegistry
  readonly url: string | undefined // of its own port's `/metrics`
  /** From now on `/ready` and the process's series say what this says. */
  watch(read: () => Health): void
  close(): Promise<void>
}

export interface MonitorOptions {
  readonly role: Role
  readonly id: string
  readonly pid: number
  readonly modelName: string
  readonly address: MetricsAddress | undefined // absent: no port
  readonly system: ActorSystem
  readonly transport: Transport
}

/** Throws `unavailable` where the port is taken. */
export async function startMonitor(options: MonitorOptions): Promise<Monitor> {
  const { role, id, pid, system, transport, address } = options
  let read: (() => Health) | undefined
  const registry = createMetricsRegistry(options.modelName)
  const loopDelay = watchLoopDelay(system.clock)
  addProcessMetrics(registry, { role, id, version: VERSION, system, transport, loopDelay, health: () => read?.() })

  const ready = (): Answer => {
    const { isConnected } = transport.usage()
    const known = read?.()
    const isReady = known?.isReady === true
    const { state = 'starting', incarnation, deviceClass, fingerprint, shards } = known?.heartbeat ?? {}
    const about = { role, id, pid, state, isConnected, incarnation, deviceClass, fingerprint, shards }
    return json({ ready: isReady, ...about }, isReady ? 200 : 503)
  }
  const pages = {
    '/metrics': async () => ({ status: 200, type: PROMETHEUS_TEXT, body: await registry.text() }),
    '/health': () => json({ alive: true, role, id, pid }), // that it answers is what it says
    '/ready': ready,
  }
  try {
    const server = address && (await startMetricsServer(address, pages))
    return {
      registry,
      url: server && `${server.url}/metrics`,
      watch: (next) => void (read = next),
      close: async () => {
        loopDelay.stop()
        await server?.stop()
      },
    }
  } catch (error) {
    loopDelay.stop()
    throw error
  }
}
