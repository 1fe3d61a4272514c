// The router's figures in Prometheus' form. Names that load tools and autoscalers know are vLLM's; ours are `banyan:`.
// Times come in milliseconds from one process's monotonic clock and leave in seconds.

import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export type FinishedReason = 'stop' | 'length' | 'cancelled' | 'abort' | 'error'

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
  /** One verified tree of more than one node. */
  speculated(numDrafted: number, numAccepted: number): void
  gauges(now: { readonly running: number; readonly waiting: number; readonly kvUsage: number }): void
  /** How well step times are predicted, and from which costs. */
  stepCost(now: {
    readonly error: PredictionError
    readonly baseline: PredictionError
    readonly terms: Readonly<Record<string, number>> // milliseconds each
  }): void
  /** Prometheus text. */
  text(): Promise<string>
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
    speculated: (numDrafted, numAccepted) => {
      drafts.inc()
      draftTokens.inc(numDrafted)
      acceptedTokens.inc(numAccepted)
    },
    gauges: (now) => {
      running.set(now.running)
      waiting.set(now.waiting)
      kvUsage.set(now.kvUsage)
    },
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
