// The series of an expert worker: its calls and which experts they are for. Rows per expert are summed over layers, and per
// layer over a shard: with 64 layers of 256 experts that is 256 and 512 series in the whole cluster instead of 16 384.

import type { TouchedExpert } from '../../lib/compute/expert-call.js'
import {
  MS_PER_SECOND,
  setTotals,
  SHORT_SECONDS,
  type MetricsRegistry,
  type Total,
} from '../../lib/metrics/registry.js'

export interface ExpertMetrics {
  /** Rows of a layer that went through experts. */
  touched(layer: number, touched: readonly TouchedExpert[]): void
  /** A call was answered. */
  computed(tookMs: number): void
  cancelled(): void
  watch(sources: ExpertSources): void
}

export interface ExpertSources {
  readonly shards: () => readonly number[]
  readonly busy: () => number
}

export interface ExpertMetricsOptions {
  readonly numLayers: number
  readonly numExperts: number // of the layer that has most, the always-active one included
  readonly numShards: number
}

export function createExpertMetrics(registry: MetricsRegistry, options: ExpertMetricsOptions): ExpertMetrics {
  const calls = registry.counter('banyan:expert_compute_calls_total', 'Layers computed, in place or for a call.')
  const seconds = registry.histogram(
    'banyan:expert_compute_seconds',
    'Duration of the calls; layers that run in place are the attention worker’s.',
    SHORT_SECONDS,
  )
  const cancelled = registry.counter('banyan:expert_steps_cancelled_total', 'Steps that were cancelled meanwhile.')
  const count = addRows(registry, options)
  return {
    touched: (layer, touched) => {
      calls.inc()
      for (const one of touched) count(layer, one)
    },
    computed: (tookMs) => seconds.observe(tookMs / MS_PER_SECOND),
    cancelled: () => cancelled.inc(),
    watch: ({ shards, busy }) => {
      const held = registry.gauge('banyan:expert_shards_held', 'Expert shards that are loaded here.')
      const share = registry.gauge(
        'banyan:expert_busy_ratio',
        'Share of the time that went into calls over the last 15 to 30 s, 0 to 1: what to scale expert workers by.',
      )
      registry.onScrape(() => {
        held.set(shards().length)
        share.set(busy())
      })
    },
  }
}

/** Counts as plain numbers; only experts and shards that had rows have a series. */
function addRows(registry: MetricsRegistry, { numLayers, numExperts, numShards }: ExpertMetricsOptions) {
  const perExpert = registry.counter('banyan:expert_rows_total', 'Rows that went through an expert, over all layers.', {
    expert: [],
  })
  const perShard = registry.counter('banyan:expert_shard_rows_total', 'Rows that went through a shard of a layer.', {
    layer: [],
    shard: [],
  })
  const ofExpert = new Float64Array(numExperts)
  const ofShard = new Float64Array(numLayers * numShards)
  const known = <L extends Total['labels']>(counts: Float64Array, labels: (at: number) => L): Total[] =>
    [...counts.keys()].flatMap((at) => (counts[at] === 0 ? [] : [{ labels: labels(at), value: counts[at]! }]))
  registry.onScrape(() => {
    setTotals(
      perExpert,
      known(ofExpert, (expert) => ({ expert })),
    )
    setTotals(
      perShard,
      known(ofShard, (at) => ({ layer: Math.floor(at / numShards), shard: at % numShards })),
    )
  })
  return (layer: number, { shard, expert, count }: TouchedExpert): void => {
    ofExpert[expert]! += count
    ofShard[layer * numShards + shard]! += count
  }
}
