// Any OpenAI-compatible endpoint, streamed.
//
// Invariants
//   O1  What a server refuses of our extensions, or of token ids as a prompt, it is not sent again once it has answered
//       without (F1, F2); the person is told once, and the report says what was left out.
//   O2  A stream is whole when it said so: `[DONE]`, or every choice's reason to end. Anything else is a failure,
//       and so is an end mark alone.

import { RequestFailure } from '../errors.js'
import type { AnswerEvent, Call, PreparedCall, ReplayClient } from './client.js'
import type { HttpCaller, HttpReply } from './http-call.js'
import { readText } from './http-call.js'
import { extensionsOf, httpFailure, requestBody, type Prompt } from './openai-body.js'
import { toEvents } from './openai-chunk.js'
import { createForms, type Form } from './openai-forms.js'
import { readEvents } from './sse.js'

export interface OpenAiOptions {
  readonly url: string // with or without `/v1`
  readonly http: HttpCaller
  readonly model?: string | undefined // where a call names none
  readonly notice: (line: string) => void
}

const END = '[DONE]'
const MAX_ERROR_BYTES = 64 * 1024
const MAX_ATTEMPTS = 12 // every extension refused alone, ids, and the path

export const baseOf = (url: string): string => url.replace(/\/+$/, '').replace(/\/v1$/, '')

export function createOpenAiClient(options: OpenAiOptions): ReplayClient {
  const { http, notice } = options
  const base = baseOf(options.url)
  const forms = createForms(base, notice)

  const textOf = async (tokens: readonly number[], signal: AbortSignal): Promise<string> => {
    const body = JSON.stringify({ model: options.model, tokens })
    const reply = await http.send({ method: 'POST', url: `${base}/detokenize`, body, signal })
    const text = await readText(reply, Infinity)
    const { prompt } = (reply.status === 200 ? JSON.parse(text) : {}) as { prompt?: unknown } // vLLM's form
    if (typeof prompt === 'string') return prompt
    throw new RequestFailure('no_prompt', `the endpoint takes no token ids, and ${base}/detokenize no text for them`)
  }

  const promptFor = async ({ prompt }: Call, form: Form, signal: AbortSignal): Promise<Prompt> => {
    if (prompt.kind === 'chat' || isTaken(prompt, form)) return prompt
    const text = prompt.kind === 'tokens' ? await textOf(prompt.tokens, signal) : prompt.text
    return form.hasCompletions ? { kind: 'text', text } : { kind: 'chat', messages: [{ role: 'user', content: text }] }
  }

  const send = async (call: Call, ready: Ready | undefined, signal: AbortSignal): Promise<HttpReply> => {
    let form = forms.current
    let body = ready?.form === form ? ready.body : undefined
    for (let attempt = 1; ; attempt++) {
      const prompt = await promptFor(call, form, signal)
      body ??= requestBody(named(call), prompt, form.refused)
      const url = `${base}${prompt.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions'}`
      const headers = { 'x-request-id': call.id, accept: 'text/event-stream' }
      const reply = await http.send({ method: 'POST', url, body, headers, signal })
      const sent = { kind: prompt.kind, fields: extensionsOf(call, form.refused) }
      if (reply.status === 200) {
        forms.answered(form, sent)
        return reply
      }
      const text = await readText(reply, MAX_ERROR_BYTES)
      const next = forms.after(form, sent, { status: reply.status, text })
      if (attempt >= MAX_ATTEMPTS || next === undefined) throw httpFailure(reply.status, text)
      form = next
      body = undefined
    }
  }

  const named = (call: Call): Call => ({ ...call, model: call.model ?? options.model })

  return {
    prepare: (call): PreparedCall => {
      const form = forms.current
      const { prompt } = call
      const ready = isTaken(prompt, form) ? { form, body: requestBody(named(call), prompt, form.refused) } : undefined
      return (signal) => answer(() => send(call, ready, signal), call)
    },
    refusals: () => forms.refusals(),
    close: () => http.close(),
  }
}

interface Ready {
  readonly form: Form
  readonly body: string
}

/** Whether the prompt can go as it is. Chat always does. */
const isTaken = ({ kind }: Prompt, { takesIds, hasCompletions }: Form): boolean =>
  kind === 'chat' || (hasCompletions && (kind === 'text' || takesIds))

async function* answer(send: () => Promise<HttpReply>, { sampling }: Call): AsyncGenerator<AnswerEvent> {
  const reply = await send()
  let isWhole = false
  try {
    yield { type: 'accepted' }
    const { contentType, contentEncoding } = reply
    if (contentEncoding !== '' && contentEncoding !== 'identity')
      throw new RequestFailure('wrong_content_encoding', `want a stream as it is, found it in ${contentEncoding}`)
    if (contentType !== '' && !contentType.startsWith('text/event-stream'))
      throw new RequestFailure('wrong_content_type', `want text/event-stream, found ${contentType}`)
    const finished = new Set<number>()
    let isEmpty = true
    for await (const data of readEvents(reply.body)) {
      isWhole = data === END
      if (isWhole && isEmpty)
        throw new RequestFailure('empty_answer', 'want output or a reason to end before the end mark, found neither')
      if (isWhole) return
      for (const event of toEvents(data)) {
        if (event.type === 'output' || event.type === 'finished') isEmpty = false
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
