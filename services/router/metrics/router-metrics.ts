// All series of a router, by what they tell about.

import type { Clock } from '../../../lib/actor/actor.js'
import type { MetricsRegistry } from '../../../lib/metrics/registry.js'
import type { RecordStore } from '../../../lib/transport/record-store.js'
import type { StepReport } from '../step-report.js'
import { addClusterMetrics, type ClusterSources } from './cluster-metrics.js'
import { addJournalMetrics } from './journal-metrics.js'
import { addRequestMetrics, type RequestMetrics } from './request-metrics.js'
import { addSequenceMetrics, type SequenceEvents } from './sequence-metrics.js'
import { addStepMetrics } from './step-metrics.js'

export interface RouterMetrics {
  readonly registry: MetricsRegistry
  readonly requests: RequestMetrics
  readonly sequences: SequenceEvents
  readonly step: (step: StepReport) => void
  /** The store, its use counted. */
  metered(this: void, store: RecordStore): RecordStore
  /** From now on scrapes read what the router holds. */
  watch(this: void, sources: ClusterSources): void
}

export interface RouterMetricsOptions {
  readonly clock: Clock
  readonly prefixCache: boolean
}

export function createRouterMetrics(
  registry: MetricsRegistry,
  { clock, prefixCache }: RouterMetricsOptions,
): RouterMetrics {
  return {
    registry,
    requests: addRequestMetrics(registry),
    sequences: addSequenceMetrics(registry, prefixCache),
    step: addStepMetrics(registry),
    metered: addJournalMetrics(registry, clock),
    watch: (sources) => addClusterMetrics(registry, sources),
  }
}
