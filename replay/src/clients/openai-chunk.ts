// One chunk of a streamed completion as events. Lenient towards fields we do not know, strict towards what is no
// completion at all.

import * as z from 'zod'
import { RequestFailure } from '../errors.js'
import type { AnswerEvent } from './client.js'
import { excerpt } from './sse.js'

const text = z.string().nullish()
const whole = z.number().int().min(0)
const count = whole.nullish()

const chunkSchema = z.object({
  system_fingerprint: text,
  choices: z
    .array(
      z.object({
        index: z.number().int().min(0).max(1024).default(0),
        text,
        delta: z.object({ content: text, reasoning_content: text, reasoning: text }).nullish(),
        token_ids: z.array(whole).nullish(),
        finish_reason: text,
      }),
    )
    .default([]),
  usage: z
    .object({
      prompt_tokens: count,
      completion_tokens: count,
      prompt_tokens_details: z.object({ cached_tokens: count }).nullish(),
    })
    .nullish(),
})

const errorSchema = z.object({
  error: z.union([z.string(), z.object({ message: z.string(), code: z.union([z.string(), z.number()]).nullish() })]),
})

/** Throws `bad_json`, `bad_chunk`, or `server_error` where the endpoint tells of one. */
export function toEvents(data: string): AnswerEvent[] {
  const value = parse(data)
  const told = errorSchema.safeParse(value)
  if (told.success) {
    const { error } = told.data
    throw new RequestFailure('server_error', typeof error === 'string' ? error : error.message)
  }
  const chunk = chunkSchema.safeParse(value)
  const isCompletion = typeof value === 'object' && value !== null && ('choices' in value || 'usage' in value)
  if (!chunk.success || !isCompletion)
    throw new RequestFailure('bad_chunk', `want a chunk of a completion, found ${excerpt(data)}`)
  return eventsOf(chunk.data)
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch (error) {
    throw new RequestFailure('bad_json', `want JSON in the stream, found ${excerpt(data)}`, { cause: error })
  }
}

function eventsOf({ system_fingerprint: fingerprint, choices, usage }: z.infer<typeof chunkSchema>): AnswerEvent[] {
  const events: AnswerEvent[] = []
  if (typeof fingerprint === 'string') events.push({ type: 'fingerprint', fingerprint })
  for (const { index: choice, text: plain, delta, token_ids: tokenIds, finish_reason: reason } of choices) {
    const output = plain ?? `${delta?.reasoning_content ?? delta?.reasoning ?? ''}${delta?.content ?? ''}`
    if (output !== '' || (tokenIds ?? []).length > 0)
      events.push({ type: 'output', choice, text: output, ...(tokenIds && { tokenIds }) })
    if (typeof reason === 'string') events.push({ type: 'finished', choice, reason })
  }
  if (usage) {
    const { prompt_tokens: promptTokens, completion_tokens: completionTokens, prompt_tokens_details: details } = usage
    const cachedTokens = details?.cached_tokens
    events.push({
      type: 'usage',
      ...(typeof promptTokens === 'number' && { promptTokens }),
      ...(typeof completionTokens === 'number' && { completionTokens }),
      ...(typeof cachedTokens === 'number' && { cachedTokens }),
    })
  }
  return events
}
