// GenAI spans as OTLP JSON lines: what `formats/otlp.ts` reads. One span per request, many spans per line.

import { createHash } from 'node:crypto'
import { answerAttributes } from '../formats/otlp-answer.js'
import { SAMPLING_ATTRIBUTES, SEED_ATTRIBUTE, STOP_ATTRIBUTE } from '../formats/otlp.js'
import type { Trace, TracePrompt, TraceRequest, TraceSampling } from '../trace.js'
import { blocksAt, lost, type Writer } from './writer.js'

const SPANS_PER_LINE = 64
const KIND_SERVER = 2
const BLOCK_TOKENS = 512
const NANOS_PER_MS = 1_000_000
const RESOURCE = { attributes: [{ key: 'service.name', value: { stringValue: 'banyan-trace' } }] }

/** Of our own records. */
const UNNAMED = ['times of tokens', 'steps and drafts', 'router names', 'files of experts', 'texts beside token ids']

export const writeOtlp: Writer = (trace) => ({
  lines: toLines(trace),
  losses: [
    ...lost(trace, ['delays between turns']),
    ...(trace.isUntimed === true ? ['that there are no times (all arrivals are the same)'] : []),
    ...(trace.format === 'banyan' ? UNNAMED : []),
  ],
})

function* toLines({ requests, startUnixMs = 0 }: Trace): Generator<string> {
  for (let start = 0; start < requests.length; start += SPANS_PER_LINE) {
    const spans = requests.slice(start, start + SPANS_PER_LINE).map((request) => toSpan(request, startUnixMs))
    const scopeSpans = [{ scope: { name: 'banyan trace convert' }, spans }]
    yield JSON.stringify({ resourceSpans: [{ resource: RESOURCE, scopeSpans }] })
  }
}

/** Whole microseconds, so that what is read back is what was written. */
const nanos = (ms: number): string => `${BigInt(Math.round(ms * 1000)) * BigInt(NANOS_PER_MS / 1000)}`

function toSpan(request: TraceRequest, startUnixMs: number): object {
  const { id, arrivalMs, durationMs = 0, model } = request
  const operation = request.prompt.kind === 'chat' ? 'chat' : 'text_completion'
  const digest = createHash('sha256').update(id).digest('hex')
  return {
    traceId: digest.slice(0, 32),
    spanId: digest.slice(32, 48),
    name: [operation, model ?? ''].join(' ').trim(),
    kind: KIND_SERVER,
    startTimeUnixNano: nanos(startUnixMs + arrivalMs),
    endTimeUnixNano: nanos(startUnixMs + arrivalMs + durationMs),
    attributes: keyValues({ 'gen_ai.operation.name': operation, ...attributesOf(request) }),
    status: {},
  }
}

function attributesOf(request: TraceRequest): Record<string, unknown> {
  const { id, model, outputTokens, outputText, session, sampling, recorded } = request
  return {
    'gen_ai.response.id': id,
    'gen_ai.request.model': model,
    'gen_ai.conversation.id': session,
    'gen_ai.usage.output_tokens': outputTokens,
    'gen_ai.output.text': outputText,
    'gen_ai.response.finish_reasons': recorded?.finishReasons.filter((reason) => reason !== ''),
    ...promptAttributes(request.prompt),
    ...samplingAttributes(sampling),
    ...(recorded !== undefined && answerAttributes(recorded)),
  }
}

function promptAttributes(prompt: TracePrompt): Record<string, unknown> {
  if (prompt.kind === 'text') return { 'banyan.prompt.text': prompt.text }
  if (prompt.kind === 'chat') return { 'gen_ai.input.messages': JSON.stringify(prompt.messages) }
  const blockTokens = prompt.kind === 'blocks' ? prompt.blockTokens : BLOCK_TOKENS
  const blocks = blocksAt(prompt, blockTokens)
  return {
    'gen_ai.usage.input_tokens': blocks?.numTokens,
    ...(blocks !== undefined &&
      blocks.names.length > 0 && { 'replay.block_size': blockTokens, 'replay.hash_ids': blocks.names }),
    ...(prompt.kind === 'tokens' && { 'banyan.prompt.token_ids': prompt.tokens }),
  }
}

function samplingAttributes({ seed, stop, ...sampling }: TraceSampling): Record<string, unknown> {
  const given: Readonly<Record<string, unknown>> = sampling
  const numbers = Object.entries(SAMPLING_ATTRIBUTES).map(([field, name]) => [name, given[field]] as const)
  return {
    ...Object.fromEntries(numbers),
    [SEED_ATTRIBUTE]: seed,
    [STOP_ATTRIBUTE]: stop,
    'banyan.request.stop_token_ids': sampling.stopTokenIds,
    'banyan.request.ignore_eos': sampling.ignoreEos,
    'banyan.request.include_stop': sampling.includeStop,
    'banyan.request.logit_bias': sampling.logitBias && JSON.stringify(sampling.logitBias),
  }
}

const keyValues = (attributes: Record<string, unknown>): object[] =>
  Object.entries(attributes).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value: anyValue(value) }]))

function anyValue(value: unknown): object {
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } }
  if (typeof value === 'boolean') return { boolValue: value }
  // An int64 is all the protocol has; what is beyond it, seeds alone, is text.
  if (typeof value === 'bigint') return value < 2n ** 63n ? { intValue: `${value}` } : { stringValue: `${value}` }
  if (typeof value === 'number') return Number.isSafeInteger(value) ? { intValue: `${value}` } : { doubleValue: value }
  return { stringValue: String(value) }
}
