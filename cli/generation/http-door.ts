// The OpenAI-like HTTP door: a streamed completion with token ids. A server that does not tell its stats has times that
// are measured here, and no steps.

import * as z from 'zod'
import { ClusterError } from '../../lib/errors.js'
import { readEvents, RequestFailure } from '../../replay/src/index.js'
import { bodyPieces } from '../body-pieces.js'
import type { Fetch, FetchInit } from '../client-tls.js'
import { errorFromBody, httpError } from '../http-error.js'
import type {
  GenerationDoor,
  GenerationEvent,
  GenerationRequest,
  GenerationStats,
  GenerationTimes,
  GenerationUsage,
} from './generation.js'

const END = '[DONE]'

const treeSchema = z
  .object({
    nodes: z.array(
      z.object({
        token: z.number(),
        text: z.string(),
        parent: z.number(),
        value: z.number(),
        sources: z.array(z.string()),
      }),
    ),
    accepted: z.array(z.number()),
    proposed: z.number(),
    price: z.number(),
    plain_ms: z.number(),
    predicted_ms: z.number(),
    step_ms: z.number(),
    draft_ms: z.number(),
  })
  .transform(({ plain_ms, predicted_ms, step_ms, draft_ms, ...rest }) => ({
    ...rest,
    plainMs: plain_ms,
    predictedMs: predicted_ms,
    stepMs: step_ms,
    draftMs: draft_ms,
  }))

const statsSchema = z
  .object({
    ttft_ms: z.number(),
    tpot_ms: z.number(),
    tokens_per_second: z.number(),
    steps: z.number(),
    drafted: z.number(),
    accepted: z.number(),
    acceptance_length: z.number(),
    draft_steps: z.number(),
    offered: z.number(),
    draft_ms: z.number(),
    mean_price: z.number(),
  })
  .transform(({ steps, drafted, accepted, offered, ...rest }) => ({
    ttftMs: rest.ttft_ms,
    tpotMs: rest.tpot_ms,
    tokensPerSecond: rest.tokens_per_second,
    steps,
    drafted,
    accepted,
    acceptanceLength: rest.acceptance_length,
    draftSteps: rest.draft_steps,
    offered,
    draftMs: rest.draft_ms,
    meanPrice: rest.mean_price,
  }))

const chunkSchema = z.object({
  system_fingerprint: z.string().nullish(),
  choices: z.array(
    z.object({
      index: z.number(),
      text: z.string().nullish(),
      delta: z.object({ content: z.string().nullish() }).nullish(),
      token_ids: z.array(z.number()).nullish(),
      tree: treeSchema.nullish(),
      stats: statsSchema.nullish(),
      finish_reason: z.string().nullish(),
    }),
  ),
  usage: z
    .object({
      prompt_tokens: z.number(),
      completion_tokens: z.number(),
      prompt_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish(),
    })
    .nullish(),
})
type Chunk = z.infer<typeof chunkSchema>
const modelsSchema = z.object({ data: z.array(z.object({ id: z.string() })).min(1) })

export interface HttpDoorOptions {
  readonly url: string // as `up` prints it
  readonly apiKey?: string | undefined
  readonly now: () => number // milliseconds, monotonic
  readonly fetch?: Fetch
}

export function createHttpDoor({ url, apiKey, now, fetch: send = fetch }: HttpDoorOptions): GenerationDoor {
  const base = url.replace(/\/+$/, '')
  const headers = {
    'content-type': 'application/json',
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
  }

  const call = async (path: string, init: FetchInit): Promise<Response> => {
    const response = await send(`${base}${path}`, { ...init, headers }).catch((error: unknown) => {
      if (init.signal?.aborted === true) throw new ClusterError('cancelled', 'generate: interrupted', { cause: error })
      throw new ClusterError('unavailable', `${base}: want a Banyan router there, found no answer`, { cause: error })
    })
    if (!response.ok) throw await httpError(response)
    return response
  }

  const servedModel = async (signal: AbortSignal): Promise<string> => {
    const models = modelsSchema.safeParse(await (await call('/v1/models', { signal })).json())
    if (!models.success)
      throw new ClusterError('failed_precondition', `${base}/v1/models: want a list of models, found something else`)
    return models.data.data[0]?.id ?? ''
  }

  async function* generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent> {
    const model = await servedModel(signal)
    const clock = createStopwatch(now)
    const path = request.input.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions'
    const response = await call(path, { method: 'POST', body: requestBody(model, request), signal })
    yield* toEvents(eventsOf(bodyPieces(response.body, signal)), clock)
  }

  return { generate, close: () => undefined }
}

/** The body; a seed beyond a double's integers goes as text. */
export function requestBody(model: string, { input, sampling, n, returnTrees }: GenerationRequest): string {
  const { seed } = sampling
  const prompt =
    input.kind === 'chat'
      ? { messages: [{ role: 'user', content: input.text }] }
      : { prompt: input.kind === 'text' ? input.text : input.tokens }
  return JSON.stringify({
    model,
    ...prompt,
    n,
    stream: true,
    stream_options: { include_usage: true },
    return_token_ids: true,
    return_trees: returnTrees,
    return_stats: true,
    max_tokens: sampling.maxTokens,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    stop: sampling.stop,
    ignore_eos: sampling.ignoreEos,
    seed: seed === undefined || seed > BigInt(Number.MAX_SAFE_INTEGER) ? seed?.toString() : Number(seed),
  })
}

async function* eventsOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  try {
    yield* readEvents(body)
  } catch (error) {
    if (!(error instanceof RequestFailure)) throw error
    throw new ClusterError('failed_precondition', `generate: ${error.message}`, { cause: error })
  }
}

async function* toEvents(events: AsyncIterable<string>, clock: Stopwatch): AsyncGenerator<GenerationEvent> {
  const reasons = new Map<number, string>()
  const told = new Map<number, GenerationStats>()
  let usage: GenerationUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }
  let isFirst = true
  let isEnded = false
  for await (const data of events) {
    isEnded = data === END
    if (isEnded) break
    const chunk = parseChunk(data)
    if (isFirst) yield { type: 'accepted', fingerprint: chunk.system_fingerprint ?? '' }
    isFirst = false
    for (const choice of chunk.choices) {
      const text = choice.text ?? choice.delta?.content ?? ''
      const tokenIds = choice.token_ids ?? []
      clock.tokens(tokenIds.length)
      const tree = choice.tree ? { tree: choice.tree } : {}
      if (text !== '' || tokenIds.length > 0) yield { type: 'chunk', choice: choice.index, tokenIds, text, ...tree }
      if (typeof choice.finish_reason === 'string') reasons.set(choice.index, choice.finish_reason)
      if (choice.stats) told.set(choice.index, choice.stats)
    }
    usage = usageOf(chunk) ?? usage
  }
  if (!isEnded)
    throw new ClusterError('unavailable', 'the stream ended before its end mark; the request may be sent again')
  for (const [choice, finishReason] of reasons)
    yield { type: 'finished', choice, finishReason, usage, stats: told.get(choice) ?? clock.stats(reasons.size) }
}

function parseChunk(data: string): Chunk {
  const value: unknown = JSON.parse(data)
  const chunk = chunkSchema.safeParse(value)
  if (chunk.success) return chunk.data
  throw errorFromBody(value, 500)
}

const usageOf = ({ usage }: Chunk): GenerationUsage | undefined =>
  usage
    ? {
        promptTokens: usage.prompt_tokens,
        cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
        completionTokens: usage.completion_tokens,
      }
    : undefined

interface Stopwatch {
  tokens(count: number): void
  /** One choice's share of what was measured. */
  stats(numChoices: number): GenerationTimes
}

function createStopwatch(now: () => number): Stopwatch {
  const startMs = now()
  let firstMs = startMs
  let lastMs = startMs
  let numTokens = 0
  return {
    tokens: (count) => {
      if (count === 0) return
      lastMs = now()
      if (numTokens === 0) firstMs = lastMs
      numTokens += count
    },
    stats: (numChoices) => {
      const seconds = (lastMs - startMs) / 1000
      return {
        ttftMs: firstMs - startMs,
        tpotMs: numTokens > numChoices ? ((lastMs - firstMs) * numChoices) / (numTokens - numChoices) : 0,
        tokensPerSecond: seconds > 0 ? numTokens / seconds / numChoices : 0,
      }
    },
  }
}
