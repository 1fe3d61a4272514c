// The body of a completion, as OpenAI-compatible servers take it; and which of its fields a server has refused.

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

const REFUSES_FIELDS =
  /unknown|unrecogni[sz]ed|unexpected|extra (inputs|fields)|extra_forbidden|additional propert|not permitted|not allowed|unsupported|not supported/i

/** The extensions that a refusal (400 or 422) is about: those it names, or all where it names none. */
export function refusedFields(status: number, text: string): readonly Extension[] {
  if ((status !== 400 && status !== 422) || !REFUSES_FIELDS.test(text)) return []
  const named = EXTENSIONS.filter((field) => new RegExp(`\\b${field}\\b`).test(text))
  return named.length > 0 ? named : EXTENSIONS
}

const REFUSES_IDS = /prompt|string|token.?ids?|type/i

export const refusesIds = (status: number, text: string): boolean =>
  (status === 400 || status === 422) && REFUSES_IDS.test(text)

/** An endpoint's refusal as one request's failure. */
export function httpFailure(status: number, text: string): RequestFailure {
  const message = errorMessage(text) ?? text.replace(/\s+/g, ' ').trim().slice(0, 200)
  return new RequestFailure(`http_${status}`, `the endpoint answered ${status}: ${message}`, { code: status })
}

function errorMessage(text: string): string | undefined {
  try {
    const body = JSON.parse(text) as { error?: { message?: unknown } | string } | null // looked at with care
    const error = body?.error
    if (typeof error === 'string') return error
    return typeof error?.message === 'string' ? error.message : undefined
  } catch {
    return undefined // not JSON: the text itself has to do
  }
}
