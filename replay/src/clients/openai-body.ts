// The body of a completion, as OpenAI-compatible servers take it; and which of its fields a server has refused.

import * as z from 'zod'
import { RequestFailure } from '../errors.js'
import type { TraceSampling } from '../trace.js'
import type { Call } from './client.js'

/** Fields that OpenAI's own API does not have. A server that refuses one gets its requests without it. */
export const EXTENSIONS = [
  'return_token_ids',
  'ignore_eos',
  'min_tokens',
  'top_k',
  'min_p',
  'repetition_penalty',
  'stop_token_ids',
  'include_stop_str_in_output',
  'stream_options',
] as const
export type Extension = (typeof EXTENSIONS)[number]

export type Prompt =
  | { readonly kind: 'tokens'; readonly tokens: readonly number[] }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'chat'; readonly messages: readonly { readonly role: string; readonly content: string }[] }

/** JSON has no 64-bit integers: a seed beyond a double's goes as text. */
const seedField = (seed: bigint | undefined): number | string | undefined =>
  seed === undefined || seed > BigInt(Number.MAX_SAFE_INTEGER) ? seed?.toString() : Number(seed)

const some = <T>(list: readonly T[] | undefined): readonly T[] | undefined =>
  list === undefined || list.length === 0 ? undefined : list

const samplingFields = (sampling: TraceSampling): Record<string, unknown> => ({
  max_tokens: sampling.maxTokens,
  temperature: sampling.temperature,
  top_p: sampling.topP,
  presence_penalty: sampling.presencePenalty,
  frequency_penalty: sampling.frequencyPenalty,
  logit_bias: sampling.logitBias,
  stop: some(sampling.stop),
  seed: seedField(sampling.seed),
  n: sampling.n,
})

const extensionFields = (sampling: TraceSampling): Record<Extension, unknown> => ({
  return_token_ids: true,
  ignore_eos: sampling.ignoreEos,
  min_tokens: sampling.minTokens,
  top_k: sampling.topK,
  min_p: sampling.minP,
  repetition_penalty: sampling.repetitionPenalty,
  stop_token_ids: some(sampling.stopTokenIds),
  include_stop_str_in_output: sampling.includeStop,
  stream_options: { include_usage: true },
})

function promptFields(prompt: Prompt): Record<string, unknown> {
  switch (prompt.kind) {
    case 'tokens':
      return { prompt: prompt.tokens }
    case 'text':
      return { prompt: prompt.text }
    case 'chat':
      return { messages: prompt.messages }
  }
}

/** The extensions that a call has, without those that are not to be sent. */
export function extensionsOf({ sampling }: Call, refused: ReadonlySet<Extension>): Extension[] {
  const values = extensionFields(sampling)
  return EXTENSIONS.filter((field) => values[field] !== undefined && !refused.has(field))
}

/** Absent fields are left out, so that the endpoint's defaults hold. */
export function requestBody(call: Call, prompt: Prompt, refused: ReadonlySet<Extension>): string {
  const extensions = extensionFields(call.sampling)
  for (const field of refused) extensions[field] = undefined
  return JSON.stringify({
    model: call.model,
    ...promptFields(prompt),
    stream: true,
    ...samplingFields(call.sampling),
    ...extensions,
  })
}

/** Statuses by which a server refuses the form of a request. */
export const REFUSALS: ReadonlySet<number> = new Set([400, 404, 405, 422])

const isInvalid = (status: number): boolean => status === 400 || status === 422

const REFUSES_FIELDS =
  /unknown|unrecogni[sz]ed|unexpected|extra (inputs|fields)|extra_forbidden|additional propert|not permitted|not allowed|unsupported|not supported/i

/** Of the fields sent those that a refusal is about: those it names, or all where it names none. */
export function refusedFields(status: number, text: string, sent: readonly Extension[]): readonly Extension[] {
  const words = wordsOf(text)
  if (!isInvalid(status) || !REFUSES_FIELDS.test(words)) return []
  const named = EXTENSIONS.filter((field) => new RegExp(`\\b${field}\\b`).test(words))
  return named.length > 0 ? named.filter((field) => sent.includes(field)) : sent
}

const REFUSES_IDS =
  /\b(prompt|input)s?\b.*\b(string|str)\b|\b(arrays?|lists?|sequence|token[ _]?ids?)\b.*(\bstring\b|\bstr\b|support|allow|accept|permit)/is
const IS_TOO_LONG = /too (long|large|many)|context.length|exceed|maximum|at most/i

/** Whether a refusal is about ids as a prompt. */
export function refusesIds(status: number, text: string): boolean {
  const words = wordsOf(text)
  return isInvalid(status) && REFUSES_IDS.test(words) && !IS_TOO_LONG.test(words)
}

/** An endpoint's refusal as one request's failure. */
export function httpFailure(status: number, text: string): RequestFailure {
  const message = parsedError(text)?.message ?? text
  return new RequestFailure(`http_${status}`, `the endpoint answered ${status}: ${message}`, { code: status })
}

/** What a refusal says, and of which parameter: its kind and code are no words about the request. */
function wordsOf(text: string): string {
  const error = parsedError(text)
  return error === undefined ? text : `${error.param} ${error.message}`
}

interface ToldError {
  readonly message: string
  readonly param: string
}

const place = z.array(z.union([z.string(), z.number()])).default([])
const told = z.object({ message: z.string(), param: z.string().nullish() })
const errorSchema = z.union([
  z.object({ error: z.union([z.string().transform((message) => ({ message, param: null })), told]) }),
  told.transform((error) => ({ error })), // vLLM's older form
  z
    .object({ detail: z.array(z.object({ msg: z.string(), loc: place })).min(1) }) // FastAPI's
    .transform(({ detail }) => ({
      error: { message: detail.map(({ msg, loc }) => `${loc.join('.')}: ${msg}`).join('; '), param: null },
    })),
  z.object({ detail: z.string() }).transform(({ detail }) => ({ error: { message: detail, param: null } })),
])

function parsedError(text: string): ToldError | undefined {
  try {
    const found = errorSchema.safeParse(JSON.parse(text)).data?.error
    return found && { message: found.message, param: found.param ?? '' }
  } catch {
    return undefined // not JSON: the text itself has to do
  }
}
