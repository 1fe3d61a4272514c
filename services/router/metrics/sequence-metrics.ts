// What becomes of sequences between their arrival and their end: admitted, preempted, moved, and steps tried again.

import type { MetricsRegistry } from '../../../lib/metrics/registry.js'

/** Told by the schedulers and step loops. */
export interface SequenceEvents {
  /** A waiting sequence starts, `numCached` of its tokens from a prefix that is held. */
  admitted(numTokens: number, numCached: number): void
  preempted(): void
  /** Sequences of an attention worker that go elsewhere. */
  moved(count: number, why: 'lost' | 'draining' | 'class'): void
  /** A step is tried again. */
  retried(reason: string): void
}

export function addSequenceMetrics(registry: MetricsRegistry, prefixCache: boolean): SequenceEvents {
  const queries = registry.counter(
    'vllm:prefix_cache_queries_total',
    'Tokens of sequences that started, where the prefix cache is on.',
  )
  const hits = registry.counter('vllm:prefix_cache_hits_total', 'Of these tokens those whose KV was held.')
  const preemptions = registry.counter(
    'vllm:num_preemptions_total',
    'Times that a running sequence lost its KV to another one.',
  )
  const moved = registry.counter(
    'banyan:sequences_moved_total',
    'Sequences that another attention worker goes on with, by why the first one did not.',
    { why: ['lost', 'draining', 'class'] },
  )
  const retries = registry.counter(
    'banyan:step_retries_total',
    'Steps that were tried again: a shard without a live holder, a lost connection, a message lost on the way.',
    { reason: ['EXPERT_UNAVAILABLE', 'DISCONNECTED', 'LOST'] },
  )
  return {
    admitted: (numTokens, numCached) => {
      if (!prefixCache) return
      queries.inc(numTokens)
      hits.inc(numCached)
    },
    preempted: () => preemptions.inc(),
    moved: (count, why) => moved.inc({ why }, count),
    retried: (reason) => retries.inc({ reason }),
  }
}
