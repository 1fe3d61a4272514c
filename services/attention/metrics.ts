// The series of an attention worker: its steps, the KV it holds, what it asks of expert workers, how evenly rows fall on
// experts.

import { MS_PER_SECOND, setTotal, setTotals, SHORT_SECONDS, type MetricsRegistry } from '../../lib/metrics/registry.js'
import { createImbalance, type Imbalance } from './imbalance.js'
import type { StepRunner } from './step-runner.js'

export interface AttentionMetrics {
  step(step: {
    readonly sequences: number
    readonly rows: number
    readonly tookMs: number
    readonly hasFailed: boolean
  }): void
  /** An expert worker answered. */
  answered(worker: string, rows: number, tookMs: number): void
  /** It holds nothing any more: its series end. */
  forgotten(worker: string): void
  /** The same rows are asked for again: lost on the way, or the worker is not there any more. */
  retried(why: 'lost' | 'failed'): void
  watch(sources: AttentionSources): void
}

export interface AttentionSources {
  readonly runner: Pick<StepRunner, 'numSequences' | 'numTokens' | 'expertRows'>
  readonly numRouted: readonly number[] // routed experts of each layer
  readonly kvTokens: number
  readonly peers: {
    readonly load: { readonly hedges: number; readonly hedgesWon: number }
    avoided(): readonly string[]
  }
}

export function createAttentionMetrics(registry: MetricsRegistry): AttentionMetrics {
  const step = addSteps(registry)
  const calls = addCalls(registry)
  let imbalance: Imbalance | undefined
  return {
    step: (done) => {
      step(done)
      imbalance?.stepDone()
    },
    answered: calls.answered,
    forgotten: calls.forgotten,
    retried: (why) => calls.retries.inc({ why }),
    watch: (sources) => {
      imbalance = createImbalance(sources.numRouted, () => sources.runner.expertRows.totals())
      addImbalance(registry, imbalance)
      addHeld(registry, sources)
    },
  }
}

function addSteps(registry: MetricsRegistry): AttentionMetrics['step'] {
  const steps = registry.tallies('banyan:attention_steps_total', 'Steps computed, by outcome.', {
    label: 'outcome',
    values: ['ok', 'failed'],
  })
  const rows = registry.tally('banyan:attention_rows_total', 'Rows of these steps.')
  const sequences = registry.tally('banyan:attention_step_sequences_total', 'Sequences of these steps.')
  const seconds = registry.timings(
    'banyan:attention_step_seconds',
    'Duration of a step on this worker, its experts included.',
    SHORT_SECONDS,
  )
  return (step) => {
    steps(step.hasFailed ? 1 : 0, 1)
    rows(step.rows)
    sequences(step.sequences)
    seconds(step.tookMs / MS_PER_SECOND)
  }
}

function addCalls(registry: MetricsRegistry) {
  const calls = registry.counter(
    'banyan:expert_calls_total',
    'Answers of expert workers, by worker; of those that hold experts now.',
    { worker: [] },
  )
  const rows = registry.counter(
    'banyan:expert_call_rows_total',
    'Rows of these calls, one for every expert that a row goes to.',
    {
      worker: [],
    },
  )
  const seconds = registry.timings(
    'banyan:expert_call_seconds',
    'From a question to an expert worker to its answer.',
    SHORT_SECONDS,
  )
  const retries = registry.counter(
    'banyan:expert_call_retries_total',
    'Calls made again: lost on the way, or (failed) of another replica.',
    { why: ['lost', 'failed'] },
  )
  const totals = new Map<string, { calls: number; rows: number }>() // by worker
  registry.onScrape(() => {
    const all = [...totals].map(([worker, sums]) => ({ labels: { worker }, ...sums }))
    setTotals(
      calls,
      all.map(({ labels, calls: value }) => ({ labels, value })),
    )
    setTotals(
      rows,
      all.map(({ labels, rows: value }) => ({ labels, value })),
    )
  })
  return {
    retries,
    answered: (worker: string, numRows: number, tookMs: number): void => {
      const sums = totals.get(worker) ?? { calls: 0, rows: 0 }
      if (sums.calls === 0) totals.set(worker, sums)
      sums.calls += 1
      sums.rows += numRows
      seconds(tookMs / MS_PER_SECOND)
    },
    forgotten: (worker: string): void => {
      totals.delete(worker)
      calls.remove({ worker })
      rows.remove({ worker })
    },
  }
}

function addImbalance(registry: MetricsRegistry, imbalance: Imbalance): void {
  const ratio = registry.gauge(
    'banyan:expert_imbalance_ratio',
    'Rows of the busiest expert over the mean of all experts of the layer, over the last steps: 1 is even.',
    { layer: [] },
  )
  registry.onScrape(() => {
    for (const [layer, value] of imbalance.ratios()) ratio.set({ layer }, value)
  })
}

function addHeld(registry: MetricsRegistry, { runner, kvTokens, peers }: AttentionSources): void {
  const sequences = registry.gauge('banyan:attention_sequences', 'Sequences whose KV is held.')
  const tokens = registry.gauge('banyan:attention_kv_tokens', 'Tokens whose KV is held, shared ones once.')
  const capacity = registry.gauge('banyan:attention_kv_capacity_tokens', 'Tokens whose KV may be held.')
  const hedges = registry.counter('banyan:expert_hedges_total', 'Expert calls that were late and asked for twice.')
  const won = registry.counter('banyan:expert_hedges_won_total', 'Of these, those that another replica answered first.')
  const avoided = registry.gauge('banyan:expert_workers_avoided', 'Expert workers that are asked last for now.')
  registry.onScrape(() => {
    sequences.set(runner.numSequences)
    tokens.set(runner.numTokens)
    capacity.set(kvTokens)
    setTotal(hedges, peers.load.hedges)
    setTotal(won, peers.load.hedgesWon)
    avoided.set(peers.avoided().length)
  })
}
