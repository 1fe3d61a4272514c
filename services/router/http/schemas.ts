// Request bodies of the OpenAI-compatible doors. Types are checked here, ranges by the engine. Fields that we do not
// know are ignored, as the tools that send extra ones expect; fields that we know and cannot honour are refused.

import * as z from 'zod'
import { ClusterError } from '../../../lib/errors.js'

const number = z.number().nullish()
const integer = z.int().nullish()
const flag = z.boolean().nullish()
/** JSON has no 64-bit integers: a seed beyond 2^53 comes as a decimal string. */
const seed = z.union([z.int(), z.string().regex(/^\d{1,20}$/, 'want a decimal uint64')]).nullish()

/** A class by name, or a number as vLLM takes it: 0 is normal, below it earlier, above it later. */
const priority = z
  .union([z.enum(['high', 'normal', 'low']), z.int()], { error: 'want high, normal, low or an integer' })
  .nullish()

const common = {
  model: z.string().nullish(),
  temperature: number,
  top_p: number,
  top_k: integer,
  min_p: number,
  n: z.int().min(1, 'want at least 1').nullish(),
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
  return_trees: flag,
  return_stats: flag,
  speculation: flag,
  priority,
  stream: flag,
  stream_options: z.looseObject({ include_usage: flag }).nullish(),
}

const MAX_PROMPTS = 1024

const contentPart = z.object({ type: z.literal('text', 'want text parts only'), text: z.string() })

export const chatSchema = z
  .object({
    ...common,
    messages: z
      .array(
        z.object({
          role: z.string(),
          content: z.union([z.string(), z.array(contentPart)]).nullish(),
          tool_calls: z.array(z.never('is not supported')).nullish(),
          function_call: z.null('is not supported').optional(),
        }),
      )
      .min(1, 'want at least one message'),
    max_completion_tokens: integer,
    logprobs: flag,
    top_logprobs: integer,
  })
  .refine(({ logprobs, top_logprobs: top }) => logprobs === true || (top ?? 0) === 0, {
    path: ['top_logprobs'],
    error: 'want logprobs: true beside it',
  })

export const completionSchema = z.object({
  ...common,
  prompt: z.union(
    [
      z.string(),
      z.array(z.int()).min(1),
      z.array(z.string()).min(1).max(MAX_PROMPTS),
      z.array(z.array(z.int())).min(1).max(MAX_PROMPTS),
    ],
    { error: `want text, token ids, or a list of either (at most ${MAX_PROMPTS})` },
  ),
  logprobs: integer,
})

export type ChatBody = z.infer<typeof chatSchema>
export type CompletionBody = z.infer<typeof completionSchema>

type IsNeutral = (value: unknown) => boolean
const never: IsNeutral = () => false
const isFalse: IsNeutral = (value) => value === false
const isTrue: IsNeutral = (value) => value === true
const isEmpty: IsNeutral = (value) => Array.isArray(value) && value.length === 0
const isOneOf =
  (...neutral: readonly unknown[]): IsNeutral =>
  (value) =>
    neutral.includes(value)

/** Known fields that change the answer and are not served: anything but these neutral values is refused. */
const UNSUPPORTED: ReadonlyMap<string, IsNeutral> = new Map<string, IsNeutral>([
  ['tools', isEmpty],
  ['functions', isEmpty],
  ['tool_choice', isOneOf('none', 'auto')],
  ['function_call', isOneOf('none', 'auto')],
  [
    'response_format',
    (value) => typeof value === 'object' && value !== null && 'type' in value && value.type === 'text',
  ],
  ['modalities', (value) => Array.isArray(value) && value.every((modality) => modality === 'text')],
  ['audio', never],
  ['prediction', never],
  ['web_search_options', never],
  ['best_of', isOneOf(1)],
  ['suffix', isOneOf('')],
  ['echo', isFalse],
  ['prompt_logprobs', isOneOf(0)],
  ['prompt_embeds', never],
  ['truncate_prompt_tokens', never],
  ['allowed_token_ids', never],
  ['bad_words', isEmpty],
  ['use_beam_search', isFalse],
  ['length_penalty', isOneOf(1)],
  ['skip_special_tokens', isTrue],
  ['spaces_between_special_tokens', isTrue],
  ['add_generation_prompt', isTrue],
  ['continue_final_message', isFalse],
  ['chat_template', never],
  ['chat_template_kwargs', (value) => typeof value === 'object' && value !== null && Object.keys(value).length === 0],
  ['documents', isEmpty],
  ['guided_json', never],
  ['guided_regex', never],
  ['guided_choice', never],
  ['guided_grammar', never],
  ['structured_outputs', never],
])

/** Checks a body. Throws `invalid_argument` with the field's name. */
export function parseBody<S extends z.ZodType>(schema: S, body: unknown): z.infer<S> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw refuse('body', 'want a JSON object')
  for (const [field, value] of Object.entries(body)) {
    if (value !== null && UNSUPPORTED.get(field)?.(value) === false) throw refuse(field, 'is not supported')
  }
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw refuse(issue?.path.join('.') || 'body', issue?.message ?? 'malformed')
}

export function refuse(field: string, what: string): ClusterError {
  return new ClusterError('invalid_argument', `${field}: ${what}`, { details: { reason: 'INVALID_ARGUMENT', field } })
}
