// What one answer measures, under AIPerf's names and units: a line per request and the distributions of the summary are
// read off the same list.

import type { RequestMetrics } from './request-metrics.js'

export interface RecordMetric {
  readonly tag: string
  readonly unit: string
  /** undefined or empty: there was nothing to measure. */
  readonly of: (metrics: RequestMetrics) => number | Float64Array | undefined
}

const metric = (tag: string, unit: string, of: RecordMetric['of']): RecordMetric => ({ tag, unit, of })

const PER_USER = 'tokens/sec/user'

export const RECORD_METRICS: readonly RecordMetric[] = [
  metric('time_to_first_token', 'ms', ({ ttftMs }) => ttftMs),
  metric('time_to_second_token', 'ms', ({ ttstMs }) => ttstMs),
  metric('inter_token_latency', 'ms', ({ tpotMs }) => tpotMs),
  metric('inter_chunk_latency', 'ms', ({ itlMs }) => itlMs),
  metric('request_latency', 'ms', ({ e2eMs }) => e2eMs),
  metric('decode_duration', 'ms', ({ e2eMs, ttftMs }) => (ttftMs === undefined ? undefined : e2eMs - ttftMs)),
  metric('time_to_first_token_from_send', 'ms', ({ ttftFromSendMs }) => ttftFromSendMs),
  metric('request_latency_from_send', 'ms', ({ e2eFromSendMs }) => e2eFromSendMs),
  metric('output_token_throughput_per_user', PER_USER, ({ tpotMs }) => perSecond(1, tpotMs)),
  metric('e2e_output_token_throughput', PER_USER, ({ outputTokens, e2eMs }) => perSecond(outputTokens, e2eMs)),
  metric('prefill_throughput_per_user', PER_USER, ({ inputTokens, ttftMs }) => perSecond(inputTokens, ttftMs)),
  metric('output_sequence_length', 'tokens', ({ outputTokens }) => outputTokens),
  metric('output_token_count', 'tokens', ({ outputTokens }) => outputTokens),
  metric('input_sequence_length', 'tokens', ({ inputTokens }) => inputTokens),
  metric('usage_prompt_tokens', 'tokens', ({ inputTokens }) => inputTokens),
  metric('usage_completion_tokens', 'tokens', ({ usageTokens }) => usageTokens),
  metric('usage_total_tokens', 'tokens', ({ inputTokens, usageTokens }) => sum(inputTokens, usageTokens)),
  metric('usage_prompt_cache_read_tokens', 'tokens', ({ cachedTokens }) => cachedTokens),
  metric('tokens_per_chunk', 'tokens', ({ tokensPerChunk }) => tokensPerChunk),
]

const sum = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a + b

const perSecond = (count: number | undefined, ms: number | undefined): number | undefined =>
  count === undefined || ms === undefined || ms <= 0 ? undefined : (1000 * count) / ms
