// Any OpenAI-compatible endpoint, streamed.
//
// Invariants
//   O1  What a server refuses of our extensions, or of token ids as a prompt, it is not sent again; the person is told
//       once. What it then cannot be told is not pretended: a report says what was left out.
//   O2  A stream is whole when it said so: `[DONE]`, or every choice's reason to end. Anything else is a failure.

import { RequestFailure } from '../errors.js'
import type { AnswerEvent, Call, PreparedCall, ReplayClient } from './client.js'
import type { HttpCaller, HttpReply } from './http-call.js'
import { readText } from './http-call.js'
import { httpFailure, refusedFields, refusesIds, requestBody, type Extension, type Prompt } from './openai-body.js'
import { toEvents } from './openai-chunk.js'
import { readEvents } from './sse.js'

export interface OpenAiOptions {
  readonly url: string // with or without `/v1`
  readonly http: HttpCaller
  readonly model?: string | undefined // where a call names none
  readonly notice: (line: string) => void
}

export interface OpenAiClient extends ReplayClient {
  /** Extensions that the endpoint refused, so far. */
  readonly refused: ReadonlySet<Extension>
}

const END = '[DONE]'
const MAX_ERROR_BYTES = 64 * 1024
const MAX_ATTEMPTS = 12 // every extension refused alone, ids, and the path

export const baseOf = (url: string): string => url.replace(/\/+$/, '').replace(/\/v1$/, '')

/** What has been learnt of the endpoint. */
interface Endpoint {
  readonly refused: Set<Extension>
  takesIds: boolean
  hasCompletions: boolean
}

export function createOpenAiClient(options: OpenAiOptions): OpenAiClient {
  const { http, notice } = options
  const base = baseOf(options.url)
  const endpoint: Endpoint = { refused: new Set(), takesIds: true, hasCompletions: true }

  const textOf = async (tokens: readonly number[], signal: AbortSignal): Promise<string> => {
    const body = JSON.stringify({ model: options.model, tokens })
    const reply = await http.send({ method: 'POST', url: `${base}/detokenize`, body, signal })
    const text = await readText(reply, Infinity)
    const { prompt } = (reply.status === 200 ? JSON.parse(text) : {}) as { prompt?: unknown } // vLLM's form
    if (typeof prompt === 'string') return prompt
    throw new RequestFailure('no_prompt', `the endpoint takes no token ids, and ${base}/detokenize no text for them`)
  }

  /** The prompt in a form that the endpoint takes, as far as that is known. */
  const promptFor = async ({ prompt }: Call, signal: AbortSignal): Promise<Prompt> => {
    const isChat = !endpoint.hasCompletions
    if (prompt.kind === 'tokens' && endpoint.takesIds && !isChat) return prompt
    const plain: Prompt =
      prompt.kind === 'tokens' ? { kind: 'text', text: await textOf(prompt.tokens, signal) } : prompt
    if (plain.kind !== 'text' || !isChat) return plain
    return { kind: 'chat', messages: [{ role: 'user', content: plain.text }] }
  }

  /** Whether a refusal taught us something, so that the call is worth sending again. */
  const learn = (prompt: Prompt, status: number, text: string): boolean => {
    const fields = refusedFields(status, text).filter((field) => !endpoint.refused.has(field))
    for (const field of fields) endpoint.refused.add(field)
    if (fields.length > 0) notice(`${base} refuses ${fields.join(', ')}: sending without`)
    if (fields.length > 0) return true
    if (prompt.kind !== 'chat' && (status === 404 || status === 405) && !/model/i.test(text)) {
      if (endpoint.hasCompletions) notice(`${base} has no /v1/completions: sending chat`)
      endpoint.hasCompletions = false
      return true
    }
    if (prompt.kind === 'tokens' && refusesIds(status, text)) {
      if (endpoint.takesIds) notice(`${base} takes no token ids: sending text`)
      endpoint.takesIds = false
      return true
    }
    return false
  }

  const send = async (call: Call, first: string | undefined, signal: AbortSignal): Promise<HttpReply> => {
    let ready = first
    for (let attempt = 1; ; attempt++) {
      const refused = new Set(endpoint.refused)
      const prompt = await promptFor(call, signal)
      const body = ready ?? requestBody(named(call), prompt, refused)
      ready = undefined
      const url = `${base}${prompt.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions'}`
      const headers = { 'x-request-id': call.id, accept: 'text/event-stream' }
      const reply = await http.send({ method: 'POST', url, body, headers, signal })
      if (reply.status === 200) return reply
      const text = await readText(reply, MAX_ERROR_BYTES)
      const isOutdated = refused.size < endpoint.refused.size // others learnt it while this one was away
      if (attempt >= MAX_ATTEMPTS || !(learn(prompt, reply.status, text) || isOutdated))
        throw httpFailure(reply.status, text)
    }
  }

  const named = (call: Call): Call => ({ ...call, model: call.model ?? options.model })

  return {
    refused: endpoint.refused,
    prepare: (call): PreparedCall => {
      const isKnown = call.prompt.kind !== 'tokens' || (endpoint.takesIds && endpoint.hasCompletions)
      const isPlain = call.prompt.kind !== 'text' || endpoint.hasCompletions
      const version = endpoint.refused.size
      const body = isKnown && isPlain ? requestBody(named(call), call.prompt, endpoint.refused) : undefined
      const isCurrent = (): boolean =>
        version === endpoint.refused.size &&
        (call.prompt.kind === 'chat' || endpoint.hasCompletions) &&
        (call.prompt.kind !== 'tokens' || endpoint.takesIds)
      return (signal) => answer(() => send(call, isCurrent() ? body : undefined, signal), call)
    },
    close: () => http.close(),
  }
}

async function* answer(send: () => Promise<HttpReply>, { sampling }: Call): AsyncGenerator<AnswerEvent> {
  const reply = await send()
  let isWhole = false
  try {
    yield { type: 'accepted' }
    const { contentType } = reply
    if (contentType !== '' && !contentType.startsWith('text/event-stream'))
      throw new RequestFailure('wrong_content_type', `want text/event-stream, found ${contentType}`)
    const finished = new Set<number>()
    for await (const data of readEvents(reply.body)) {
      isWhole = data === END
      if (isWhole) return
      for (const event of toEvents(data)) {
        if (event.type === 'finished') finished.add(event.choice)
        yield event
      }
    }
    isWhole = finished.size >= (sampling.n ?? 1)
    if (!isWhole) throw new RequestFailure('closed_mid_stream', 'the stream ended before its end mark')
  } finally {
    reply.leave(isWhole)
  }
}
