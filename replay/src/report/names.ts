// What the metrics are called for people, in the order that they are shown, and how they are defined.

export interface MetricName {
  readonly tag: string
  readonly header: string // AIPerf's, where it has the metric
  readonly short: string | undefined // undefined: in files alone
}

const name = (tag: string, header: string, short?: string): MetricName => ({ tag, header, short })

/** Rows of the table: distributions over requests, chunks or gaps. */
export const DISTRIBUTIONS: readonly MetricName[] = [
  name('time_to_first_token', 'Time to First Token', 'TTFT'),
  name('time_to_second_token', 'Time to Second Token', 'TTST'),
  name('inter_chunk_latency', 'Inter Chunk Latency', 'ITL'),
  name('inter_token_latency', 'Inter Token Latency', 'TPOT'),
  name('request_latency', 'Request Latency', 'e2e'),
  name('time_to_first_token_from_send', 'Time to First Token from Send', 'TTFT from send'),
  name('request_latency_from_send', 'Request Latency from Send', 'e2e from send'),
  name('output_token_throughput_per_user', 'Output Token Throughput Per User', 'tokens/s per user'),
  name('output_sequence_length', 'Output Sequence Length', 'output tokens'),
  name('output_token_count', 'Output Token Count'),
  name('input_sequence_length', 'Input Sequence Length', 'input tokens'),
  name('tokens_per_chunk', 'Tokens Per Chunk', 'tokens per chunk'),
  name('schedule_lag', 'Schedule Lag', 'lateness'),
  name('decode_duration', 'Decode Duration'),
  name('e2e_output_token_throughput', 'E2E Output Token Throughput'),
  name('prefill_throughput_per_user', 'Prefill Throughput Per User'),
  name('usage_prompt_tokens', 'Usage Prompt Tokens'),
  name('usage_completion_tokens', 'Usage Completion Tokens'),
  name('usage_total_tokens', 'Usage Total Tokens'),
  name('usage_prompt_cache_read_tokens', 'Usage Prompt Cache Read Tokens'),
  name('osl_mismatch_diff_pct', 'OSL Mismatch Diff %'),
  name('error_isl', 'Error Input Sequence Length'),
]

/** Single figures of the whole run. */
export const TOTALS: readonly MetricName[] = [
  name('request_count', 'Request Count', 'requests answered'),
  name('error_request_count', 'Error Request Count', 'requests failed'),
  name('cancelled_request_count', 'Cancelled Request Count', 'requests cancelled'),
  name('in_flight_limit_count', 'In Flight Limit Count', 'given up at the in-flight bound'),
  name('osl_mismatch_count', 'OSL Mismatch Count', 'not as long as recorded'),
  name('benchmark_duration', 'Benchmark Duration', 'duration'),
  name('request_throughput', 'Request Throughput', 'request throughput'),
  name('output_token_throughput', 'Output Token Throughput', 'output token throughput'),
  name('total_token_throughput', 'Total Token Throughput', 'total token throughput'),
  name('goodput', 'Goodput', 'goodput'),
  name('good_request_count', 'Good Request Count', 'good requests'),
  name('good_request_fraction', 'GoodRequestFraction', 'share of good requests'),
  name('good_output_token_throughput', 'Good Output Token Throughput', 'token goodput'),
  name('requested_request_rate', 'Requested Request Rate', 'requested rate'),
  name('achieved_request_rate', 'Achieved Request Rate', 'achieved rate'),
  name('total_isl', 'Total Input Sequence Length', 'input tokens in all'),
  name('overall_usage_prompt_cache_read_pct', 'Overall Usage Prompt Cache Read %', 'of that from the prefix cache'),
  name('total_osl', 'Total Output Sequence Length', 'output tokens in all'),
  name('total_usage_prompt_tokens', 'Total Usage Prompt Tokens'),
  name('total_usage_completion_tokens', 'Total Usage Completion Tokens'),
  name('total_usage_total_tokens', 'Total Usage Total Tokens'),
  name('total_usage_prompt_cache_read_tokens', 'Total Usage Prompt Cache Read Tokens'),
  name('completed_request_count', 'Completed Requests (Success + Error)'),
  name('request_error_rate', 'Request Error Rate'),
  name('input_token_throughput', 'Input Token Throughput'),
  name('total_output_tokens', 'Total Output Tokens'),
  name('total_error_isl', 'Total Error Input Sequence Length'),
  name('replay_sched_degraded', 'Replay Schedule Degraded'),
  name('replay_sched_lag_p50', 'Replay Schedule Lag p50', 'lateness p50'),
  name('replay_sched_lag_p90', 'Replay Schedule Lag p90', 'lateness p90'),
  name('replay_sched_lag_p99', 'Replay Schedule Lag p99', 'lateness p99'),
]

/** Printed with every report: figures of the same name are not always the same figure. */
export const DEFINITIONS: readonly (readonly [string, string])[] = [
  ['TTFT', 'time to first token: from when the request was due to its first output that is not empty'],
  ['TTST', 'time to second token: from the first streamed output to the second'],
  [
    'ITL',
    'each gap between two streamed outputs of a choice (inter_chunk_latency). With speculative decoding one output carries several tokens: the gaps stay long while tokens come faster',
  ],
  [
    'TPOT',
    'time per output token of a request: (e2e - TTFT) / (output tokens - 1) (inter_token_latency, as AIPerf names it). It spreads what comes at once over its tokens',
  ],
  ['e2e', 'from when the request was due to its last output'],
  [
    'from send',
    'latencies count from the scheduled arrival, so that falling behind cannot hide (no coordinated omission); "from send" counts from when the request was really sent. In a closed loop both are the same',
  ],
  ['tokens per chunk', 'output tokens that came in one streamed output'],
  ['goodput', 'requests a second that met every goal; token goodput: their output tokens a second'],
  ['lateness', 'when a request was sent less when it was due: the fault of this generator, not of the endpoint'],
  ['duration', 'from the first send to the last end; throughputs are over this time, of answers that came whole'],
  ['percentiles', 'interpolated linearly between the two nearest values; std is that of a sample'],
]
