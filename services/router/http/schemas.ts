// Request bodies of the OpenAI-compatible doors. Types are checked here, ranges by the engine. Fields that we do not
// know are ignored, as the tools that send extra ones expect; fields that we know and cannot honour are refused.

import { z } from 'zod'
import { ClusterError } from '../../../lib/errors.js'

const number = z.number().nullish()
const integer = z.int().nullish()
const flag = z.boolean().nullish()
/** JSON has no 64-bit integers: a seed beyond 2^53 comes as a decimal string. */
const seed = z.union([z.int(), z.string().regex(/^\d{1,20}$/, 'want a decimal uint64')]).nullish()

const common = {
  model: z.string().nullish(),
  temperature: number,
  top_p: number,
  top_k: integer,
  min_p: number,
  n: integer,
  seed,
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  stop_token_ids: z.array(z.int()).nullish(),
  presence_penalty: number,
  frequency_penalty: number,
  repetition_penalty: number,
  logit_bias: z.record(z.string().regex(/^\d+$/, 'want token ids as keys'), z.number()).nullish(),
  max_tokens: integer,
  min_tokens: integer,
  ignore_eos: flag,
  include_stop_str_in_output: flag,
  return_token_ids: flag,
  speculation: flag,
  stream: flag,
  stream_options: z.looseObject({ include_usage: flag }).nullish(),
}

const contentPart = z.object({ type: z.literal('text', 'want text parts only'), text: z.string() })

export const chatSchema = z.object({
  ...common,
  messages: z
    .array(
      z.object({
        role: z.string(),
        content: z.union([z.string(), z.array(contentPart)]).nullish(),
      }),
    )
    .min(1, 'want at least one message'),
  max_completion_tokens: integer,
  logprobs: flag,
  top_logprobs: integer,
})

export const completionSchema = z.object({
  ...common,
  prompt: z.union([z.string(), z.array(z.string()).min(1), z.array(z.int()).min(1), z.array(z.array(z.int())).min(1)], {
    error: 'want text, token ids, or a list of either',
  }),
  logprobs: integer,
})

export type ChatBody = z.infer<typeof chatSchema>
export type CompletionBody = z.infer<typeof completionSchema>

/** Known fields that change the answer and are not served: anything but these neutral values is refused. */
const UNSUPPORTED: Readonly<Record<string, (value: unknown) => boolean>> = {
  tools: (value) => Array.isArray(value) && value.length === 0,
  functions: (value) => Array.isArray(value) && value.length === 0,
  response_format: (value) => typeof value === 'object' && value !== null && 'type' in value && value.type === 'text',
  best_of: (value) => value === 1,
  suffix: (value) => value === '',
  echo: (value) => value === false,
  audio: () => false,
  guided_json: () => false,
  guided_regex: () => false,
  prompt_logprobs: (value) => value === 0,
}

/** Checks a body. Throws `invalid_argument` with the field's name. */
export function parseBody<S extends z.ZodType>(schema: S, body: unknown): z.infer<S> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw refuse('body', 'want a JSON object')
  for (const [field, value] of Object.entries(body)) {
    const isNeutral = UNSUPPORTED[field]
    if (value !== null && isNeutral !== undefined && Object.hasOwn(UNSUPPORTED, field) && !isNeutral(value)) {
      throw refuse(field, 'is not supported')
    }
  }
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw refuse(issue?.path.join('.') || 'body', issue?.message ?? 'malformed')
}

export function refuse(field: string, what: string): ClusterError {
  return new ClusterError('invalid_argument', `${field}: ${what}`, { details: { reason: 'INVALID_ARGUMENT', field } })
}
