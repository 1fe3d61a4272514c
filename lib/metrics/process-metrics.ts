// What every service tells of its process: who it is, what it takes, how late it is, what it holds. Names without a prefix
// are those of other Prometheus clients.

import { readdirSync } from 'node:fs'
import type { ActorSystem, Reason } from '../actor/actor.js'
import type { Transport } from '../transport/transport.js'
import type { Body } from '../wire/messages.js'
import type { LoopDelay } from './loop-delay.js'
import { MS_PER_SECOND, setTotal, setTotals, type MetricsRegistry } from './registry.js'

const DEAD_LETTERS: readonly Reason[] = ['mailbox-full', 'no-handler', 'undecodable', 'late', 'stopped']
const QUANTILES = ['0.5', '0.99', '1']

export interface ProcessMetricsOptions {
  readonly role: string
  readonly id: string
  readonly version: string
  readonly system: Pick<ActorSystem, 'deadLetters'>
  readonly transport: Pick<Transport, 'usage' | 'dropped'>
  readonly loopDelay: Pick<LoopDelay, 'quantile'>
  /** What the service says of itself; undefined before it says anything. */
  readonly health: () => { readonly isReady: boolean; readonly heartbeat: Body<'worker.heartbeat'> } | undefined
}

export function addProcessMetrics(registry: MetricsRegistry, options: ProcessMetricsOptions): void {
  const { role, id, version, health } = options
  const info = registry.gauge('banyan:process_info', 'What this process is; the value is 1.', {
    role: [],
    id: [],
    version: [],
    node_version: [],
    device_class: [],
    fingerprint: [],
  })
  const ready = registry.gauge('banyan:ready', 'Whether the service can serve, as `/ready` says: 0 or 1.')
  registry.onScrape(() => {
    const state = health()
    info.reset()
    const { deviceClass: device_class = 'none', fingerprint = '-' } = state?.heartbeat ?? {}
    info.set({ role, id, version, node_version: process.version, device_class, fingerprint }, 1)
    ready.set(state?.isReady === true ? 1 : 0)
  })
  addLoopDelay(registry, options)
  addResources(registry, id)
  addMessages(registry, options)
}

function addLoopDelay(registry: MetricsRegistry, { loopDelay, health }: ProcessMetricsOptions): void {
  const delay = registry.gauge(
    'banyan:event_loop_delay_seconds',
    'How late timers were over the last 15 to 30 s; a worker computes on its event loop. Quantile 1 is the longest.',
    { quantile: QUANTILES },
  )
  const stalls = registry.counter('banyan:stalls_total', 'Times that the process stood still for 250 ms or more.')
  const longest = registry.gauge('banyan:longest_stall_seconds', 'The longest of these times.')
  registry.onScrape(() => {
    for (const quantile of QUANTILES) delay.set({ quantile }, loopDelay.quantile(Number(quantile)))
    const { stalls: numStalls = 0, maxStallMs = 0 } = health()?.heartbeat.load ?? {}
    setTotal(stalls, numStalls)
    longest.set(maxStallMs / MS_PER_SECOND)
  })
}

function addResources(registry: MetricsRegistry, id: string): void {
  const resident = registry.gauge('process_resident_memory_bytes', 'Resident memory.')
  const heap = registry.gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use.')
  const external = registry.gauge('nodejs_external_memory_bytes', 'Memory outside of the heap that objects hold.')
  const cpu = registry.counter('process_cpu_seconds_total', 'Processor time, user and system.')
  const started = registry.gauge('process_start_time_seconds', 'When the process began, Unix time.', { id: [id] })
  const files = registry.gauge('process_open_fds', 'Open file descriptors; 0 where the system does not tell.')
  started.set({ id }, Date.now() / MS_PER_SECOND - process.uptime()) // once: a time that moved would be a restart
  const active = registry.gauge('nodejs_active_resources', 'What keeps the event loop alive: sockets, timers, …', {
    type: ['Timeout', 'TCPSocketWrap', 'TCPServerWrap'],
  })
  registry.onScrape(() => {
    const memory = process.memoryUsage()
    resident.set(memory.rss)
    heap.set(memory.heapUsed)
    external.set(memory.external)
    const { user, system } = process.cpuUsage()
    setTotal(cpu, (user + system) / 1e6)
    files.set(countOpenFiles())
    const counts = new Map<string, number>(['Timeout', 'TCPSocketWrap', 'TCPServerWrap'].map((type) => [type, 0]))
    for (const type of process.getActiveResourcesInfo()) counts.set(type, (counts.get(type) ?? 0) + 1)
    active.reset()
    for (const [type, count] of counts) active.set({ type }, count)
  })
}

function countOpenFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0 // no such folder on this system
  }
}

function addMessages(registry: MetricsRegistry, { system, transport }: ProcessMetricsOptions): void {
  const deadLetters = registry.counter('banyan:dead_letters_total', 'Messages that no handler took, by reason.', {
    reason: DEAD_LETTERS,
  })
  const dropped = registry.counter('banyan:transport_dropped_total', 'Messages lost to a bound or a broken chunk.')
  const reconnects = registry.counter('banyan:transport_reconnects_total', 'Times that a lost connection was back.')
  const connected = registry.gauge('banyan:transport_connected', 'Whether the process is on the bus: 0 or 1.')
  const subscriptions = registry.gauge('banyan:transport_subscriptions', 'Subscriptions held.')
  const pending = registry.gauge('banyan:transport_pending_requests', 'Questions to other processes under way.')
  registry.onScrape(() => {
    setTotals(
      deadLetters,
      [...system.deadLetters].map(([reason, value]) => ({ labels: { reason }, value })),
    )
    setTotal(dropped, transport.dropped)
    const usage = transport.usage()
    setTotal(reconnects, usage.reconnects)
    connected.set(usage.isConnected ? 1 : 0)
    subscriptions.set(usage.subscriptions)
    pending.set(usage.pending)
  })
}
