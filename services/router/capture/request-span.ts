// A request's span: OpenTelemetry's GenAI names, and vLLM's beside them where people look for those. No text in it unless
// that was asked for.

import { SpanKind, SpanStatusCode, type Attributes, type Span, type Tracer } from '@opentelemetry/api'
import { contextFrom } from '../../../lib/tracing/spans.js'
import type { RequestRecord } from '../requests.js'

const MS_PER_SECOND = 1000

export interface RequestSpanOptions {
  readonly tracer: Tracer
  readonly model: string
  /** Text of tokens, where spans may have text. */
  readonly textOf?: ((tokens: readonly number[]) => string) | undefined
}

export interface RequestSpans {
  start(name: { readonly id: string; readonly isChat: boolean; readonly parent?: string | undefined }): Span
  /** What became of it; ends the span. */
  end(record: RequestRecord): void
}

export function createRequestSpans({ tracer, model, textOf }: RequestSpanOptions): RequestSpans {
  const messages = (role: string, texts: readonly string[]): string =>
    JSON.stringify(texts.map((content) => ({ role, parts: [{ type: 'text', content }] })))

  const contentOf = ({ log, accepted }: RequestRecord): Attributes => {
    if (textOf === undefined || accepted === undefined) return {}
    const texts: string[] = []
    for (const event of log.events) {
      if (event.kind === 'chunk') texts[event.choice] = (texts[event.choice] ?? '') + event.text
    }
    return {
      'gen_ai.input.messages': messages('user', [textOf(accepted.request.prompt)]),
      'gen_ai.output.messages': messages(
        'assistant',
        [...texts].map((text) => text ?? ''),
      ),
      ...(accepted.request.stop.length > 0 && { 'gen_ai.request.stop_sequences': [...accepted.request.stop] }),
    }
  }

  return {
    start: ({ id, isChat, parent }) => {
      const operation = isChat ? 'chat' : 'text_completion'
      const attributes = {
        'gen_ai.operation.name': operation,
        'gen_ai.provider.name': 'banyan',
        'gen_ai.request.model': model,
        'gen_ai.response.model': model,
        'gen_ai.response.id': id,
        'gen_ai.request.id': id,
      }
      return tracer.startSpan(`${operation} ${model}`, { kind: SpanKind.SERVER, attributes }, contextFrom(parent))
    },
    end: (record) => {
      const { span } = record
      if (span === undefined) return
      if (span.isRecording()) span.setAttributes({ ...askedFor(record), ...outcomeOf(record), ...contentOf(record) })
      const { error } = record.log
      // A client that cancels or leaves is no failure of the server.
      if (error !== undefined && record.outcome === 'failed') {
        span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
        span.setAttribute('error.type', error.code)
      }
      span.end()
    },
  }
}

function askedFor({ accepted }: RequestRecord): Attributes {
  if (accepted === undefined) return {} // it ran elsewhere
  const { session, request } = accepted
  const { prompt, n, maxTokens, sampling } = request
  const seed = Number(sampling.seed)
  return {
    'gen_ai.request.choice.count': n,
    'gen_ai.request.n': n,
    'gen_ai.request.max_tokens': maxTokens,
    'gen_ai.request.temperature': sampling.temperature,
    'gen_ai.request.top_p': sampling.topP,
    'gen_ai.request.top_k': sampling.topK,
    'gen_ai.request.frequency_penalty': sampling.frequencyPenalty,
    'gen_ai.request.presence_penalty': sampling.presencePenalty,
    'gen_ai.request.seed': Number.isSafeInteger(seed) ? seed : sampling.seed.toString(),
    'gen_ai.usage.input_tokens': prompt.length,
    'gen_ai.usage.prompt_tokens': prompt.length,
    ...(session !== undefined && { 'gen_ai.conversation.id': session }),
  }
}

function outcomeOf({ log, sequences, timeline, outcome }: RequestRecord): Attributes {
  const finished = log.events.filter((event) => event.kind === 'finished')
  const reasons = sequences.map(
    (_, choice) =>
      finished.find((event) => event.choice === choice)?.reason ?? (outcome === 'cancelled' ? 'cancelled' : 'error'),
  )
  const outputTokens = log.held.reduce((sum, count) => sum + (count ?? 0), 0)
  const stats = (name: 'steps' | 'drafted' | 'accepted'): number =>
    sequences.reduce((sum, sequence) => sum + sequence.stats[name], 0)
  return {
    'gen_ai.response.finish_reasons': reasons,
    'gen_ai.usage.output_tokens': outputTokens,
    'gen_ai.usage.completion_tokens': outputTokens,
    'gen_ai.usage.cache_read.input_tokens': sequences[0]?.cachedTokens ?? 0,
    'banyan.request.steps': stats('steps'),
    'banyan.request.drafted': stats('drafted'),
    'banyan.request.accepted': stats('accepted'),
    ...latencies(timeline),
  }
}

/** vLLM's names, in seconds. */
function latencies(timeline: RequestRecord['timeline']): Attributes {
  const { scheduledMs, firstTokenMs, lastTokenMs } = timeline
  const share = (fromMs: number | undefined, toMs: number | undefined, name: string): Attributes =>
    fromMs === undefined || toMs === undefined ? {} : { [`gen_ai.latency.${name}`]: (toMs - fromMs) / MS_PER_SECOND }
  return {
    ...share(0, timeline.nowMs(), 'e2e'),
    ...share(0, scheduledMs, 'time_in_queue'),
    ...share(0, firstTokenMs, 'time_to_first_token'),
    ...share(scheduledMs, firstTokenMs, 'time_in_model_prefill'),
    ...share(firstTokenMs, lastTokenMs, 'time_in_model_decode'),
    ...share(scheduledMs, lastTokenMs, 'time_in_model_inference'),
  }
}
