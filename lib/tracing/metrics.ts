// The router's figures in Prometheus' form. Names that load tools and autoscalers know are vLLM's; ours are `banyan:`.
// Times come in milliseconds from one process's monotonic clock and leave in seconds.

import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export type FinishedReason = 'stop' | 'length' | 'cancelled' | 'abort' | 'error'

export type PriorityClass = 'high' | 'normal' | 'low'

export interface RouterMetrics {
  requestAccepted(promptTokens: number): void
  /** Tokens that one sequence received at once. */
  tokens(numTokens: number, sinceLastMs: number, isFirst: boolean): void
  requestFinished(reason: FinishedReason, durationMs: number): void
  step(report: {
    readonly sequences: number
    readonly rows: number
    readonly emitted: number
    readonly durationMs: number
  }): void
  /** What a step drafted. */
  speculated(step: SpeculatedStep): void
  gauges(now: {
    readonly running: number
    readonly waiting: number // parked ones included
    readonly kvUsage: number
    readonly parked: number
  }): void
  waitingByClass(waiting: readonly { readonly priority: PriorityClass }[]): void
  requestRefused(reason: string): void
  /** How well step times are predicted, and from which costs. */
  stepCost(now: {
    readonly error: PredictionError
    readonly baseline: PredictionError
    readonly terms: Readonly<Record<string, number>> // milliseconds each
  }): void
  /** Prometheus text. */
  text(): Promise<string>
}

/** Drafted nodes of a step, the roots left out, and what the controller decided about them. */
export interface SpeculatedStep {
  readonly drafted: number
  readonly accepted: number
  readonly nodes: readonly {
    readonly sources: readonly string[]
    readonly depth: number
    readonly isAccepted: boolean
  }[]
  readonly numAsked: number // sequences for which a drafter was asked
  readonly offered: number // nodes that it proposed
  readonly price: number
  readonly draftMs: number
}

export interface PredictionError {
  readonly median: number // |error| / actual
  readonly p90: number
  readonly count: number
}

const SHORT_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5]
const LONG_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]
const MS_PER_SECOND = 1000

/** A registry of its own; every series carries the label `model_name`. */
export function createRouterMetrics(modelName: string): RouterMetrics {
  const registry = new Registry()
  registry.setDefaultLabels({ model_name: modelName })
  const registers = [registry]
  const counter = (name: string, help: string) => new Counter({ name, help, registers })
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers })
  const histogram = (name: string, help: string, buckets: number[]) => new Histogram({ name, help, buckets, registers })

  const running = gauge('vllm:num_requests_running', 'Sequences that are being stepped.')
  const waiting = gauge('vllm:num_requests_waiting', 'Sequences that wait for room.')
  const parked = gauge('banyan:parked_sequences', 'Waiting sequences that are paused because their reader is slow.')
  const waitingByClass = new Gauge({
    name: 'banyan:waiting_sequences',
    help: 'Sequences that wait, by class of priority.',
    labelNames: ['priority'],
    registers,
  })
  const refused = new Counter({
    name: 'banyan:requests_refused_total',
    help: 'Requests that were not let in, by reason.',
    labelNames: ['reason'],
    registers,
  })
  const kvUsage = gauge('vllm:kv_cache_usage_perc', 'Share of the KV blocks in use, 0 to 1.')
  const firstToken = histogram('vllm:time_to_first_token_seconds', 'From the request to its first token.', LONG_SECONDS)
  const betweenTokens = histogram('vllm:inter_token_latency_seconds', 'Time per token after the first.', SHORT_SECONDS)
  const wholeRequest = histogram('vllm:e2e_request_latency_seconds', 'From the request to its end.', LONG_SECONDS)
  const promptTokens = counter('vllm:prompt_tokens_total', 'Prompt tokens accepted.')
  const generationTokens = counter('vllm:generation_tokens_total', 'Tokens generated.')
  const finished = new Counter({
    name: 'vllm:request_success_total',
    help: 'Choices that ended, by reason.',
    labelNames: ['finished_reason'],
    registers,
  })
  for (const reason of ['stop', 'length', 'abort', 'error']) finished.inc({ finished_reason: reason }, 0)
  const drafts = counter('vllm:spec_decode_num_drafts_total', 'Drafted trees verified.')
  const draftTokens = counter('vllm:spec_decode_num_draft_tokens_total', 'Drafted nodes verified.')
  const acceptedTokens = counter('vllm:spec_decode_num_accepted_tokens_total', 'Drafted nodes accepted.')
  const draftNodes = new Counter({
    name: 'banyan:draft_nodes_total',
    help: 'Drafted nodes verified, by source (a node of several counts for each), depth and whether they came true.',
    labelNames: ['source', 'depth', 'accepted'],
    registers,
  })
  const offered = counter('banyan:draft_nodes_offered_total', 'Nodes that drafters proposed; the others did not pay.')
  const asked = counter('banyan:draft_requests_total', 'Sequences for which a drafter was asked.')
  const draftSeconds = histogram('banyan:draft_wait_seconds', 'Time that a step waited for drafts.', SHORT_SECONDS)
  const treePrice = gauge('banyan:tree_price', 'Least value at which a node paid in the last step with drafts.')
  const steps = counter('banyan:steps_total', 'Steps that an attention worker answered.')
  const stepRows = counter('banyan:step_rows_total', 'Rows of these steps: prefill, decode and drafted nodes.')
  const stepSequences = counter('banyan:step_sequences_total', 'Sequences of these steps.')
  const stepEmitted = counter('banyan:step_emitted_tokens_total', 'Tokens that these steps yielded.')
  const stepSeconds = histogram('banyan:step_seconds', 'Duration of a step as the router sees it.', SHORT_SECONDS)
  const predictionError = new Gauge({
    name: 'banyan:step_prediction_error_ratio',
    help: '|predicted - actual| / actual of step times over the last steps; predictor last_similar is the baseline.',
    labelNames: ['predictor', 'quantile'],
    registers,
  })
  const predictions = gauge('banyan:step_predictions', 'Steps whose time was predicted and compared.')
  const costSeconds = new Gauge({
    name: 'banyan:step_cost_seconds',
    help: 'What the cost model holds one unit of each term to cost.',
    labelNames: ['term'],
    registers,
  })

  return {
    requestAccepted: (numTokens) => promptTokens.inc(numTokens),
    tokens: (numTokens, sinceLastMs, isFirst) => {
      generationTokens.inc(numTokens)
      if (isFirst) firstToken.observe(sinceLastMs / MS_PER_SECOND)
      else for (let i = 0; i < numTokens; i++) betweenTokens.observe(sinceLastMs / numTokens / MS_PER_SECOND)
    },
    requestFinished: (reason, durationMs) => {
      finished.inc({ finished_reason: reason === 'cancelled' ? 'abort' : reason })
      wholeRequest.observe(durationMs / MS_PER_SECOND)
    },
    step: ({ sequences, rows, emitted, durationMs }) => {
      steps.inc()
      stepRows.inc(rows)
      stepSequences.inc(sequences)
      stepEmitted.inc(emitted)
      stepSeconds.observe(durationMs / MS_PER_SECOND)
    },
    speculated: (step) => {
      if (step.numAsked === 0) return
      asked.inc(step.numAsked)
      offered.inc(step.offered)
      draftSeconds.observe(step.draftMs / MS_PER_SECOND)
      treePrice.set(step.price)
      if (step.drafted > 0) drafts.inc()
      draftTokens.inc(step.drafted)
      acceptedTokens.inc(step.accepted)
      for (const { sources, depth, isAccepted } of step.nodes) {
        for (const source of sources) draftNodes.inc({ source, depth, accepted: String(isAccepted) })
      }
    },
    gauges: (now) => {
      running.set(now.running)
      waiting.set(now.waiting)
      kvUsage.set(now.kvUsage)
      parked.set(now.parked)
    },
    waitingByClass: (sequences) => {
      for (const priority of ['high', 'normal', 'low'] as const)
        waitingByClass.set({ priority }, sequences.filter((sequence) => sequence.priority === priority).length)
    },
    requestRefused: (reason) => refused.inc({ reason }),
    stepCost: ({ error, baseline, terms }) => {
      for (const [predictor, { median, p90, count }] of Object.entries({ cost_model: error, last_similar: baseline })) {
        if (count === 0) continue // nothing to tell yet
        predictionError.set({ predictor, quantile: '0.5' }, median)
        predictionError.set({ predictor, quantile: '0.9' }, p90)
      }
      predictions.set(error.count)
      for (const [term, ms] of Object.entries(terms)) costSeconds.set({ term }, ms / MS_PER_SECOND)
    },
    text: () => registry.metrics(),
  }
}
