// GenAI spans in OTLP JSON, from whatever program: a span of a model call is a request. Of nested ones (a client's
// and the server's) the outer counts. Our own attributes add what the conventions have no name for.

import { counted, wereOrWas } from '../counted.js'
import type { TracePrompt, TraceSampling } from '../trace.js'
import { spansOf, isSpans, type Attributes, type AttributeValue, type Span, wordOf } from '../spans/span.js'
import { blocksPrompt } from './block-names.js'
import { checkCount, isRow, messages, parseJson, type Row } from './fields.js'
import type { RawRequest, Reader, TraceFormat } from './format.js'
import { recordedOf } from './otlp-answer.js'

const CALLS = new Set(['chat', 'text_completion', 'generate_content', 'completion'])
const INPUT_TOKENS = ['gen_ai.usage.input_tokens', 'gen_ai.usage.prompt_tokens'] as const
const OUTPUT_TOKENS = ['gen_ai.usage.output_tokens', 'gen_ai.usage.completion_tokens'] as const

/** Whether a span is a call of a model: by its operation, or by what it used where it names none. */
function isCall({ attributes }: Span): boolean {
  const operation = attributes['gen_ai.operation.name']
  if (typeof operation === 'string') return CALLS.has(operation)
  return [...INPUT_TOKENS, 'gen_ai.input.messages'].some((name) => name in attributes)
}

function createReader(): Reader {
  const calls: Span[] = []
  const parents = new Map<string, string | undefined>() // of every span
  const callIds = new Set<string>()
  const nameOf = (traceId: string, spanId: string): string => `${traceId}/${spanId}`

  const isNested = ({ traceId, parentSpanId }: Span): boolean => {
    const seen = new Set<string>() // a circle of parents must not hold us
    for (let id = parentSpanId; id !== undefined && !seen.has(id); id = parents.get(nameOf(traceId, id))) {
      if (callIds.has(nameOf(traceId, id))) return true
      seen.add(id)
    }
    return false
  }

  return {
    read: ({ text }) => {
      const spans = spansOf(parseJson(text))
      const found = spans.filter(isCall)
      found.forEach((span) => toRequest(span)) // throws before anything is kept
      for (const span of spans) parents.set(nameOf(span.traceId, span.spanId), span.parentSpanId)
      for (const span of found) {
        callIds.add(nameOf(span.traceId, span.spanId))
        calls.push(span)
      }
      return []
    },
    finish: () => {
      const requests = calls.filter((span) => !isNested(span)).flatMap((span) => toRequest(span) ?? [])
      const numSilent = calls.filter((span) => toRequest(span) === undefined).length
      return {
        requests,
        notices:
          numSilent === 0
            ? []
            : [`${counted(numSilent, 'call')} with neither a prompt nor its length ${wereOrWas(numSilent)} left out`],
      }
    },
  }
}

/** Undefined where the span says nothing of its prompt. */
function toRequest(span: Span): RawRequest | undefined {
  const { attributes } = span
  const prompt = promptOf(attributes)
  if (prompt === undefined) return undefined
  const outputTokens = tokens(attributes, OUTPUT_TOKENS)
  const outputText = outputTokens === undefined ? attributes['gen_ai.output.text'] : undefined
  const session = wordOf(attributes['gen_ai.conversation.id'] ?? attributes['session.id'])
  const model = attributes['gen_ai.request.model'] ?? attributes['gen_ai.response.model']
  const id = attributes['gen_ai.response.id'] ?? attributes['gen_ai.request.id']
  const recorded = recordedOf(span)
  return {
    id: wordOf(id) ?? span.spanId,
    timeMs: span.startMs,
    prompt,
    ...(outputTokens !== undefined && { outputTokens }),
    ...(typeof outputText === 'string' && { outputText }),
    sampling: samplingOf(attributes),
    durationMs: Math.max(0, Math.round((span.endMs - span.startMs) * 1000) / 1000),
    ...(session !== undefined && { session }),
    ...(typeof model === 'string' && { model }),
    ...(recorded !== undefined && { recorded }),
  }
}

function promptOf(attributes: Attributes): TracePrompt | undefined {
  const ids = attributes['banyan.prompt.token_ids']
  if (Array.isArray(ids)) return { kind: 'tokens', tokens: ids.map((id) => checkCount('banyan.prompt.token_ids', id)) }
  const text = attributes['banyan.prompt.text']
  if (typeof text === 'string') return { kind: 'text', text }
  const content = contentOf(attributes['gen_ai.input.messages'])
  if (content !== undefined) return { kind: 'chat', messages: messages(content, 'gen_ai.input.messages') }
  const numTokens = tokens(attributes, INPUT_TOKENS)
  if (numTokens === undefined) return undefined
  const hashes = attributes['replay.hash_ids']
  const blockTokens = checkCount('replay.block_size', attributes['replay.block_size'] ?? 1)
  if (!Array.isArray(hashes) || blockTokens === 0) return { kind: 'blocks', numTokens, blockTokens: 1, blocks: [] }
  return blocksPrompt('replay.hash_ids', hashes, { numTokens, blockTokens })
}

/** Messages come as JSON in a text, or as they are. */
function contentOf(value: AttributeValue | undefined): Row | undefined {
  const found: unknown = typeof value === 'string' && value.startsWith('[') ? parseJson(value) : value
  return Array.isArray(found) && found.length > 0 ? { 'gen_ai.input.messages': found } : undefined
}

function tokens(attributes: Attributes, names: readonly string[]): number | undefined {
  const name = names.find((candidate) => attributes[candidate] !== undefined)
  return name === undefined ? undefined : checkCount(name, Number(attributes[name]))
}

/** Attribute of each sampling field; the first is what we write. */
export const SAMPLING_ATTRIBUTES = {
  temperature: 'gen_ai.request.temperature',
  topP: 'gen_ai.request.top_p',
  topK: 'gen_ai.request.top_k',
  maxTokens: 'gen_ai.request.max_tokens',
  frequencyPenalty: 'gen_ai.request.frequency_penalty',
  presencePenalty: 'gen_ai.request.presence_penalty',
  n: 'gen_ai.request.choice.count',
  minP: 'banyan.request.min_p',
  repetitionPenalty: 'banyan.request.repetition_penalty',
  minTokens: 'banyan.request.min_tokens',
  logprobs: 'banyan.request.logprobs',
} as const
export const SEED_ATTRIBUTE = 'gen_ai.request.seed'
export const STOP_ATTRIBUTE = 'gen_ai.request.stop_sequences'

function samplingOf(attributes: Attributes): TraceSampling {
  const numbers = Object.entries(SAMPLING_ATTRIBUTES).flatMap(([field, name]) => {
    const value = attributes[name]
    return typeof value === 'number' ? [[field, value] as const] : []
  })
  const seed = wordOf(attributes[SEED_ATTRIBUTE])
  const stop = attributes[STOP_ATTRIBUTE]
  const stopTokenIds = attributes['banyan.request.stop_token_ids']
  const bias = attributes['banyan.request.logit_bias']
  const { 'banyan.request.ignore_eos': ignoreEos, 'banyan.request.include_stop': includeStop } = attributes
  return {
    ...Object.fromEntries(numbers),
    ...(seed !== undefined && /^\d{1,20}$/.test(seed) && { seed: BigInt(seed) }),
    ...(Array.isArray(stop) && { stop: stop.map(String) }),
    ...(Array.isArray(stopTokenIds) && { stopTokenIds: stopTokenIds.map(Number) }),
    ...(typeof ignoreEos === 'boolean' && { ignoreEos }),
    ...(typeof includeStop === 'boolean' && { includeStop }),
    ...(typeof bias === 'string' && { logitBias: biasOf(bias) }),
  }
}

function biasOf(text: string): Readonly<Record<string, number>> {
  const value = parseJson(text)
  return isRow(value) ? Object.fromEntries(Object.entries(value).map(([token, bias]) => [token, Number(bias)])) : {}
}

export const otlp: TraceFormat = {
  name: 'otlp',
  isDated: true,
  isOrdered: false,
  recognise: ({ values }) => {
    const found = values.filter(isSpans)
    if (found.length === 0) return 'no line has resourceSpans, or spans with span_id'
    return undefined
  },
  createReader,
}
