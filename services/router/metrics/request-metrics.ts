// Requests as their clients see them: arrivals, refusals, times, tokens, ends. Names that load tools and autoscalers know are
// vLLM's and mean what they mean there; times begin when a request is wholly read at a door.

import { LONG_SECONDS, MS_PER_SECOND, SHORT_SECONDS, type MetricsRegistry } from '../../../lib/metrics/registry.js'

const TOKEN_COUNTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]
const REFUSALS = [
  'INVALID_ARGUMENT',
  'QUEUE_FULL',
  'RATE_LIMITED',
  'DEADLINE_UNREACHABLE',
  'KV_TOO_SMALL',
  'MODEL_NOT_FOUND',
  'STARTING',
  'DRAINING',
]

export type FinishedReason = 'stop' | 'length' | 'cancelled' | 'abort' | 'error'

/** Where the time of a choice went that ended well, in milliseconds. */
export interface ChoiceTimes {
  readonly queueMs: number // from its arrival to its first admission
  readonly prefillMs: number // from its admission to its first token
  readonly decodeMs: number // from there to its last token
  readonly numTokens: number // that were generated here
}

export interface RequestMetrics {
  accepted(promptTokens: number): void
  refused(reason: string): void
  /** Tokens that one choice received at once; `sinceLastMs`: absent where nobody waited for them from the last one on. */
  tokens(numTokens: number, sinceLastMs: number | undefined, isFirst: boolean): void
  finished(reason: FinishedReason, tookMs: number, times?: ChoiceTimes): void
  takenOver(): void
}

export function addRequestMetrics(registry: MetricsRegistry): RequestMetrics {
  const refused = registry.counter('banyan:requests_refused_total', 'Requests that were not let in, by reason.', {
    reason: REFUSALS,
  })
  const takenOver = registry.counter(
    'banyan:requests_taken_over_total',
    'Requests of a router that was gone, gone on with here.',
  )
  const times = addTimes(registry)
  const tokens = addTokens(registry)
  const finished = registry.counter('vllm:request_success_total', 'Choices that ended, by reason.', {
    finished_reason: ['stop', 'length', 'abort', 'error'],
  })
  return {
    accepted: (promptTokens) => {
      tokens.prompt.inc(promptTokens)
      tokens.promptPerRequest.observe(promptTokens)
    },
    refused: (reason) => refused.inc({ reason }),
    tokens: (numTokens, sinceLastMs, isFirst) => {
      tokens.generated(numTokens)
      if (sinceLastMs === undefined) return
      if (isFirst) times.firstToken.observe(sinceLastMs / MS_PER_SECOND)
      else times.betweenChunks(sinceLastMs / MS_PER_SECOND)
    },
    finished: (reason, tookMs, ended) => {
      finished.inc({ finished_reason: reason === 'cancelled' ? 'abort' : reason })
      times.whole.observe(tookMs / MS_PER_SECOND)
      if (ended === undefined) return
      const { queueMs, prefillMs, decodeMs, numTokens } = ended
      tokens.generatedPerRequest.observe(numTokens)
      times.queue.observe(queueMs / MS_PER_SECOND)
      times.prefill.observe(prefillMs / MS_PER_SECOND)
      times.decode.observe(decodeMs / MS_PER_SECOND)
      times.inference.observe((prefillMs + decodeMs) / MS_PER_SECOND)
      if (numTokens > 1) times.perToken.observe(decodeMs / (numTokens - 1) / MS_PER_SECOND)
    },
    takenOver: () => takenOver.inc(),
  }
}

function addTimes(registry: MetricsRegistry) {
  const long = (name: string, help: string) => registry.histogram(name, help, LONG_SECONDS)
  const short = (name: string, help: string) => registry.histogram(name, help, SHORT_SECONDS)
  return {
    firstToken: long(
      'vllm:time_to_first_token_seconds',
      'From the arrival of a request (wholly read at a door) to the first token of a choice.',
    ),
    betweenChunks: registry.timings(
      'vllm:inter_token_latency_seconds',
      'Gap between two chunks of a choice, one observation a chunk: with accepted drafts a chunk is several tokens.',
      SHORT_SECONDS,
    ),
    perToken: short(
      'vllm:request_time_per_output_token_seconds',
      'Of a choice that ended well with two tokens or more: time from its first token to its last, over the tokens after the first.',
    ),
    whole: long(
      'vllm:e2e_request_latency_seconds',
      'From the arrival of a request to the end of a choice, however it ended.',
    ),
    queue: long(
      'vllm:request_queue_time_seconds',
      'Of a choice that ended well: from the arrival of its request to its first admission.',
    ),
    prefill: long(
      'vllm:request_prefill_time_seconds',
      'Of a choice that ended well: from its admission to its first token.',
    ),
    decode: long('vllm:request_decode_time_seconds', 'Of a choice that ended well: from its first token to its last.'),
    inference: long(
      'vllm:request_inference_time_seconds',
      'Of a choice that ended well: from its admission to its last token.',
    ),
  }
}

function addTokens(registry: MetricsRegistry) {
  return {
    prompt: registry.counter('vllm:prompt_tokens_total', 'Prompt tokens accepted, once a request.'),
    generated: registry.tally('vllm:generation_tokens_total', 'Tokens generated.'),
    promptPerRequest: registry.histogram('vllm:request_prompt_tokens', 'Prompt tokens of a request.', TOKEN_COUNTS),
    generatedPerRequest: registry.histogram(
      'vllm:request_generation_tokens',
      'Tokens of a choice that ended well.',
      TOKEN_COUNTS,
    ),
  }
}
