// Clients of a cluster with one or more routers: the SDK over gRPC, and HTTP as a careful client would use it, which
// resumes a broken stream by its request id at the token it holds.

import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { readEvents } from '../../replay/src/index.js'
import { BanyanClient, BanyanError, type GenerateRequest } from '../../sdk/src/index.js'
import { recordAnswer, type Answer, type Recorder } from './answer.js'
import type { ChaosRequest } from './requests.js'

const RETRY_MS = 100
const DEADLINE_MS = 150_000
const RESUME_TIMEOUT_MS = 60_000 // a router that is started again on a busy machine

export interface DoorAddresses {
  readonly grpc: readonly string[]
  readonly http: readonly string[]
  readonly apiKey?: string | undefined
}

export interface AskOptions {
  readonly id: string // of the request
  readonly onTokens: (count: number) => void
  readonly signal?: AbortSignal
}

export interface Doors {
  /** Never throws: an error is part of the answer. */
  ask(request: ChaosRequest, options: AskOptions): Promise<Answer>
  close(): void
}

export function openDoors({ grpc, http, apiKey }: DoorAddresses): Doors {
  const client = new BanyanClient({ address: grpc, apiKey, maxAttempts: 50, resumeTimeoutMs: RESUME_TIMEOUT_MS })

  const overGrpc = async (request: GenerateRequest, options: AskOptions, recorder: Recorder): Promise<void> => {
    const call = { deadlineMs: DEADLINE_MS, ...(options.signal && { signal: options.signal }) }
    for await (const event of client.generate({ ...request, requestId: options.id }, call)) {
      if (event.type === 'finished') recorder.finished(event.choice, event.finishReason)
      if (event.type !== 'chunk') continue
      recorder.tokens(event.choice, event.tokenIds, event.offset)
      options.onTokens(event.tokenIds.length)
    }
  }

  return {
    ask: async ({ door, request }, options) => {
      const recorder = recordAnswer(request.n ?? 1, () => performance.now())
      try {
        await (door === 'grpc'
          ? overGrpc(request, options, recorder)
          : overHttp({ http, apiKey }, request, options, recorder))
        return recorder.answer()
      } catch (error) {
        return recorder.answer(error)
      }
    },
    close: () => client.close(),
  }
}

const chunkSchema = z.object({
  choices: z.array(
    z.object({ index: z.number(), token_ids: z.array(z.number()).nullish(), finish_reason: z.string().nullish() }),
  ),
})
const errorSchema = z.object({ error: z.object({ message: z.string(), type: z.string(), code: z.string() }) })

/** The stream, picked up again at the next router where it breaks. Throws what a retry does not help against. */
async function overHttp(
  { http: urls, apiKey }: Omit<DoorAddresses, 'grpc'>,
  request: GenerateRequest,
  options: AskOptions,
  recorder: Recorder,
): Promise<void> {
  // Asked below, too: a timeout of which AbortSignal.any alone knows may be collected before it is over.
  const deadline = AbortSignal.timeout(DEADLINE_MS)
  const bounded = { ...options, signal: AbortSignal.any([deadline, ...(options.signal ? [options.signal] : [])]) }
  for (let attempt = 0; ; attempt++) {
    const url = urls[attempt % urls.length] ?? ''
    try {
      await readStream(await call({ url, apiKey }, request, bounded, recorder.held(0)), options, recorder)
      return
    } catch (error) {
      const mayRetry = !(error instanceof BanyanError) || error.isRetryable
      if (!mayRetry || options.signal?.aborted === true || deadline.aborted) throw error
      await sleep(RETRY_MS)
    }
  }
}

interface HttpDoor {
  readonly url: string
  readonly apiKey: string | undefined
}

async function call(
  { url, apiKey }: HttpDoor,
  request: GenerateRequest,
  { id, signal }: Pick<AskOptions, 'id'> & { readonly signal: AbortSignal },
  held: number,
): Promise<Response> {
  const key = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
  const response = await (held > 0
    ? fetch(`${url}/v1/requests/${id}?offset=${held}`, {
        headers: { ...key, accept: 'text/event-stream' },
        signal,
      })
    : fetch(`${url}/v1/completions`, {
        method: 'POST',
        headers: { ...key, 'content-type': 'application/json', 'x-request-id': id },
        body: httpBody(request),
        signal,
      }))
  if (response.ok) return response
  throw toError(await response.json().catch(() => undefined), response.status)
}

function httpBody({ text, tokens, sampling = {}, speculation }: GenerateRequest): string {
  return JSON.stringify({
    prompt: tokens ?? text,
    stream: true,
    return_token_ids: true,
    max_tokens: sampling.maxTokens,
    temperature: sampling.temperature,
    seed: Number(sampling.seed ?? 0n), // those of the mix fit into a double
    stop: sampling.stop,
    ignore_eos: sampling.ignoreEos,
    speculation,
  })
}

async function readStream(response: Response, options: AskOptions, recorder: Recorder): Promise<void> {
  for await (const data of readEvents(response.body ?? new ReadableStream())) {
    if (data === '[DONE]') return
    const value: unknown = JSON.parse(data)
    const chunk = chunkSchema.safeParse(value)
    if (!chunk.success) throw toError(value, 500)
    for (const { index, token_ids: ids, finish_reason: reason } of chunk.data.choices) {
      recorder.tokens(index, ids ?? [])
      if (reason !== null && reason !== undefined) recorder.finished(index, reason === 'length' ? 'length' : 'stop')
      options.onTokens(ids?.length ?? 0)
    }
  }
  throw new Error('the stream ended before its end mark')
}

/** `unavailable` where asking again may help: the server's side failed, and not by a fault in its code. */
function toError(body: unknown, status: number): BanyanError {
  const parsed = errorSchema.safeParse(body)
  const { message, type, code } = parsed.success ? parsed.data.error : { message: `HTTP ${status}`, type: '', code: '' }
  const mayRetry = [429, 502, 503].includes(status) || (type === 'server_error' && code !== 'internal')
  return new BanyanError(mayRetry ? 'unavailable' : 'internal', `${code}: ${message}`)
}
