// From the engine's events to OpenAI's objects: chunks of a stream, or one response.

import type { GenerateEvent, TokenLogprob, Usage } from '../engine.js'
import { snakeCase } from '../snake-case.js'
import { treeFields } from '../tree-fields.js'

export type Endpoint = 'chat' | 'completions'
export type ChunkEvent = Extract<GenerateEvent, { kind: 'chunk' }>
export type FinishedEvent = Extract<GenerateEvent, { kind: 'finished' }>
export type AcceptedEvent = Extract<GenerateEvent, { kind: 'accepted' }>
type Logprobs = ChunkEvent['logprobs']

export interface OutputOptions {
  readonly endpoint: Endpoint
  readonly withTokenIds: boolean
  readonly withLogprobs: boolean
  readonly withTrees: boolean
  readonly withStats: boolean
}

/** Fields that every object of a response carries. */
export function head(accepted: AcceptedEvent, { endpoint }: OutputOptions, isStream: boolean): Record<string, unknown> {
  const isChat = endpoint === 'chat'
  return {
    id: `${isChat ? 'chatcmpl' : 'cmpl'}-${accepted.requestId}`,
    object: isChat ? (isStream ? 'chat.completion.chunk' : 'chat.completion') : 'text_completion',
    created: Math.floor(accepted.createdUnixMs / 1000),
    model: accepted.model,
    system_fingerprint: accepted.fingerprint,
    // Given or drawn: the same seed and fingerprint give the same answer. Beyond 2^53 as a decimal string.
    seed: accepted.seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(accepted.seed) : accepted.seed.toString(),
  }
}

export function usageOf(usages: readonly Usage[], numPrompts: number): Record<string, unknown> {
  const sum = (value: (usage: Usage) => number): number => usages.reduce((total, usage) => total + value(usage), 0)
  // Every choice of a prompt reports the same prompt: count it once.
  const share = usages.length === 0 ? 0 : numPrompts / usages.length
  const promptTokens = Math.round(sum(({ promptTokens: tokens }) => tokens) * share)
  const completionTokens = sum(({ completionTokens: tokens }) => tokens)
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: Math.round(sum(({ cachedTokens }) => cachedTokens) * share) },
  }
}

/** OpenAI's word for the end of a choice. */
const finishReason = ({ reason }: FinishedEvent): string => (reason === 'cancelled' ? 'abort' : reason)

function chatLogprobs(logprobs: Logprobs): Record<string, unknown> {
  const entry = ({ token, logprob, text, bytes }: TokenLogprob) => ({ token: text, logprob, bytes, token_id: token })
  return {
    content: logprobs.map((sampled) => ({ ...entry(sampled), top_logprobs: sampled.top.map(entry) })),
    refusal: null,
  }
}

/** `textStart`: characters of the tokens before these. */
function completionLogprobs(logprobs: Logprobs, textStart: number): Record<string, unknown> {
  let offset = textStart
  return {
    text_offset: logprobs.map(({ text }) => (offset += text.length) - text.length),
    tokens: logprobs.map(({ text }) => text),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top }) => Object.fromEntries(top.map(({ text, logprob }) => [text, logprob]))),
  }
}

function logprobsOf(logprobs: Logprobs, { endpoint, withLogprobs }: OutputOptions, textStart = 0) {
  if (!withLogprobs || logprobs.length === 0) return null
  return endpoint === 'chat' ? chatLogprobs(logprobs) : completionLogprobs(logprobs, textStart)
}

/** Characters of the tokens that have log-probabilities, by each token's own text. */
export const textLength = ({ logprobs }: ChunkEvent): number => logprobs.reduce((sum, { text }) => sum + text.length, 0)

const tokenIds = (ids: readonly number[], { withTokenIds }: OutputOptions): Record<string, unknown> =>
  withTokenIds ? { token_ids: ids } : {}

const statsOf = ({ stats }: FinishedEvent, { withStats }: OutputOptions): Record<string, unknown> =>
  withStats ? { stats: snakeCase({ ...stats }) } : {}

/** The first chunk of a chat choice. */
export const roleChoice = (index: number): Record<string, unknown> => ({
  index,
  delta: { role: 'assistant', content: '' },
  logprobs: null,
  finish_reason: null,
})

export function chunkChoice(
  index: number,
  event: ChunkEvent,
  options: OutputOptions,
  textStart: number,
): Record<string, unknown> {
  const content = options.endpoint === 'chat' ? { delta: { content: event.text } } : { text: event.text }
  return {
    index,
    ...content,
    logprobs: logprobsOf(event.logprobs, options, textStart),
    finish_reason: null,
    ...tokenIds(event.tokenIds, options),
    ...(options.withTrees && event.tree !== undefined ? { tree: treeFields(event.tree) } : {}),
  }
}

export function finishChoice(index: number, event: FinishedEvent, options: OutputOptions): Record<string, unknown> {
  const content = options.endpoint === 'chat' ? { delta: {} } : { text: '' }
  return {
    index,
    ...content,
    logprobs: null,
    finish_reason: finishReason(event),
    stop_reason: event.stopReason ?? null,
    ...tokenIds([], options),
    ...statsOf(event, options),
  }
}

/** A whole choice of a response that is not streamed. */
export function wholeChoice(
  index: number,
  chunks: readonly ChunkEvent[],
  end: FinishedEvent,
  options: OutputOptions,
): Record<string, unknown> {
  const text = chunks.map((chunk) => chunk.text).join('')
  const content =
    options.endpoint === 'chat' ? { message: { role: 'assistant', content: text, refusal: null } } : { text }
  return {
    index,
    ...content,
    logprobs: logprobsOf(
      chunks.flatMap((chunk) => [...chunk.logprobs]),
      options,
    ),
    finish_reason: finishReason(end),
    stop_reason: end.stopReason ?? null,
    ...tokenIds(
      chunks.flatMap((chunk) => [...chunk.tokenIds]),
      options,
    ),
    ...(options.withTrees
      ? { trees: chunks.flatMap(({ tree }) => (tree === undefined ? [] : [treeFields(tree)])) }
      : {}),
    ...statsOf(end, options),
  }
}
