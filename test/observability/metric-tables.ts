// The series of every role as tables, made from the code: what docs/metrics.md must hold.

import { createManualClock } from '../../lib/actor/clock.js'
import { addProcessMetrics } from '../../lib/metrics/process-metrics.js'
import { createMetricsRegistry, type MetricsRegistry } from '../../lib/metrics/registry.js'
import { createAttentionMetrics } from '../../services/attention/metrics.js'
import { createDrafterMetrics } from '../../services/drafter/metrics.js'
import { createExpertMetrics } from '../../services/expert-worker/metrics.js'
import { createRouterMetrics } from '../../services/router/metrics/router-metrics.js'

const never = (): never => {
  throw new Error('only described, never scraped')
}

const FILLERS: Readonly<Record<string, (registry: MetricsRegistry) => void>> = {
  'Every process': (registry) =>
    addProcessMetrics(registry, {
      role: 'router',
      id: 'router-0',
      version: '',
      system: { deadLetters: new Map() },
      transport: { dropped: 0, usage: never },
      loopDelay: { quantile: never },
      health: never,
    }),
  Router: (registry) => {
    const { watch } = createRouterMetrics(registry, { clock: createManualClock(), prefixCache: true })
    watch({
      workers: {
        numRunning: 0,
        numWaiting: 0,
        numParked: 0,
        kvUsage: 0,
        kvBlocks: { used: 0, kept: 0, capacity: 0 },
        waiting: never,
      },
      membership: { processes: never, lateHeartbeats: 0 },
      placement: never,
      expertLoad: { byWorker: new Map() },
      rebalancer: { figures: { moves: 0, last: undefined } },
      stepCost: never,
      numOpenRequests: never,
      prefixCache: true,
      nowMs: never,
    })
  },
  'Attention worker': (registry) =>
    createAttentionMetrics(registry).watch({
      runner: { numSequences: 0, numTokens: 0, expertRows: { note: never, totals: never } },
      numRouted: [],
      kvTokens: 0,
      peers: { load: { hedges: 0, hedgesWon: 0 }, avoided: never },
    }),
  'Expert worker': (registry) =>
    createExpertMetrics(registry, { numLayers: 1, numExperts: 1, numShards: 1 }).watch({
      shards: never,
      busy: never,
    }),
  Drafter: (registry) => createDrafterMetrics(registry, []).queues(never),
}

export interface MetricTable {
  readonly title: string
  readonly table: string // Markdown
}

export function metricTables(): MetricTable[] {
  return Object.entries(FILLERS).map(([title, fill]) => {
    const registry = createMetricsRegistry('')
    fill(registry)
    const rows = registry.metrics.map(({ name, type, labels, help }) => {
      const labelled = labels.length === 0 ? `\`${name}\`` : `\`${name}{${labels.join(', ')}}\``
      return `| ${labelled} | ${type} | ${help.replaceAll('|', '\\|')} |`
    })
    return { title, table: ['| series | kind | |', '|---|---|---|', ...rows].join('\n') }
  })
}
