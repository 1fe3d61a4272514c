// Completions and chat completions: runs the engine's requests of one call and writes them as one response or a stream.

import { link } from '../../../lib/actor/linked-signal.js'
import { ClusterError } from '../../../lib/errors.js'
import type { GenerateEvent, GenerateInput, HeldTokens } from '../engine.js'
import { chatInput, completionInputs } from './openai-input.js'
import {
  chunkChoice,
  finishChoice,
  head,
  roleChoice,
  textLength,
  usageOf,
  wholeChoice,
  type AcceptedEvent,
  type ChunkEvent,
  type FinishedEvent,
  type OutputOptions,
} from './openai-output.js'
import { openEventStream } from './event-stream.js'
import { sendJson, type Exchange } from './exchange.js'
import { chatSchema, completionSchema, parseBody, type ChatBody, type CompletionBody } from './schemas.js'

interface Call {
  readonly inputs: readonly GenerateInput[] // one per prompt
  readonly output: OutputOptions
  readonly isStream: boolean
  readonly withUsage: boolean
}

export async function answerChat(exchange: Exchange): Promise<void> {
  const body = parseBody(chatSchema, await exchange.body())
  await answer(exchange, {
    inputs: [chatInput(body, exchange)],
    output: { endpoint: 'chat', withLogprobs: body.logprobs === true, ...extras(body) },
    isStream: body.stream === true,
    withUsage: body.stream_options?.include_usage === true,
  })
}

export async function answerCompletions(exchange: Exchange): Promise<void> {
  const body = parseBody(completionSchema, await exchange.body())
  const withLogprobs = body.logprobs !== null && body.logprobs !== undefined
  await answer(exchange, {
    inputs: completionInputs(body, exchange),
    output: { endpoint: 'completions', withLogprobs, ...extras(body) },
    isStream: body.stream === true,
    withUsage: body.stream_options?.include_usage === true,
  })
}

const extras = (body: ChatBody | CompletionBody): Pick<OutputOptions, 'withTokenIds' | 'withTrees' | 'withStats'> => ({
  withTokenIds: body.return_token_ids === true,
  withTrees: body.return_trees === true,
  withStats: body.return_stats === true,
})

/** Where one of the call's requests fails, the others are cancelled, too: nobody will read them. */
async function answer(exchange: Exchange, call: Call): Promise<void> {
  const linked = link([exchange.signal], new AbortController())
  try {
    await (call.isStream ? answerStream : answerWhole)({ ...exchange, signal: linked.signal }, call)
  } catch (error) {
    linked.abort()
    throw error
  } finally {
    linked.release()
  }
}

/** Starts a request of the engine and waits until it is accepted: what is wrong with it is thrown before any header. */
async function start(stream: AsyncIterable<GenerateEvent>) {
  const events = stream[Symbol.asyncIterator]()
  const first = await events.next()
  if (first.done === true || first.value.kind !== 'accepted')
    throw new ClusterError('internal', 'the engine did not accept the request')
  return { accepted: first.value, events }
}

type Started = Awaited<ReturnType<typeof start>>

/** All requests of the call, or none: where one is refused, the others are cancelled. */
async function startAll({ engine, signal }: Exchange, inputs: readonly GenerateInput[]): Promise<Started[]> {
  const results = await Promise.allSettled(inputs.map((input) => start(engine.generate(input, { signal }))))
  const failed = results.find((result) => result.status === 'rejected')
  const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  if (failed === undefined) return started
  for (const { events } of started) await events.return?.()
  throw failed.reason
}

/** What comes after `accepted`. Leaving it ends the engine's iteration, too: that is what frees the request (R2). */
const rest = ({ events }: Started): AsyncIterable<GenerateEvent> => ({ [Symbol.asyncIterator]: () => events })

async function answerWhole(exchange: Exchange, { inputs, output }: Call): Promise<void> {
  const started = await startAll(exchange, inputs)
  const perPrompt = await Promise.all(started.map((request, i) => collect(request, i * (inputs[i]?.n || 1), output)))
  const accepted = firstAccepted(started)
  nameRequest(exchange, accepted)
  sendJson(exchange.response, {
    ...head(accepted, output, false),
    choices: perPrompt.flatMap(({ choices }) => choices),
    usage: usageOf(
      perPrompt.flatMap(({ usages }) => usages),
      inputs.length,
    ),
  })
}

async function collect(started: Started, firstIndex: number, output: OutputOptions) {
  const chunks = new Map<number, ChunkEvent[]>()
  const ends: FinishedEvent[] = []
  for await (const event of rest(started)) {
    if (event.kind === 'finished') ends.push(event)
    if (event.kind !== 'chunk') continue
    const held = chunks.get(event.choice)
    if (held === undefined) chunks.set(event.choice, [event])
    else held.push(event)
  }
  const choices = ends
    .sort((a, b) => a.choice - b.choice)
    .map((end) => wholeChoice(firstIndex + end.choice, chunks.get(end.choice) ?? [], end, output))
  return { choices, usages: ends.map(({ usage }) => usage) }
}

async function answerStream(exchange: Exchange, { inputs, output, withUsage }: Call): Promise<void> {
  const { response, signal } = exchange
  const started = await startAll(exchange, inputs)
  const accepted = firstAccepted(started)
  const fields = head(accepted, output, true)
  nameRequest(exchange, accepted)
  const events = openEventStream(response, signal)
  const usageField = withUsage ? { usage: null } : {}
  const send = (choices: readonly unknown[], extra: Record<string, unknown> = usageField): Promise<void> =>
    events.send(JSON.stringify({ ...fields, choices, ...extra }))

  const usages = await Promise.all(
    started.map((request, i) => {
      const n = inputs[i]?.n || 1
      return sendChoices(request, { firstIndex: i * n, n, output, send })
    }),
  )
  if (withUsage) await send([], { usage: usageOf(usages.flat(), inputs.length) })
  await events.end()
}

/** The rest of a request's stream, as its first call asked for it, with token ids. */
export async function answerRest(exchange: Exchange, requestId: string, held: HeldTokens): Promise<void> {
  const { engine, response, signal, tenant } = exchange
  const request = await start(engine.resume({ requestId, tenant, held }, { signal }))
  const endpoint = request.accepted.door === 'chat' ? 'chat' : 'completions'
  const output: OutputOptions = { endpoint, withTokenIds: true, withLogprobs: true, withTrees: true, withStats: false }
  const fields = head(request.accepted, output, true)
  if (/^[\x20-\x7e]+$/.test(requestId)) response.setHeader('x-request-id', requestId) // gRPC takes any text as an id
  const events = openEventStream(response, signal)
  const send = (choices: readonly unknown[]): Promise<void> => events.send(JSON.stringify({ ...fields, choices }))
  await sendChoices(request, { firstIndex: 0, n: 0, output, send })
  await events.end()
}

interface Sending {
  readonly firstIndex: number
  readonly n: number // choices that begin here
  readonly output: OutputOptions
  readonly send: (choices: readonly unknown[]) => Promise<void>
}

/** Sends one request's chunks as they come; returns the usage of each choice. */
async function sendChoices(
  request: Started,
  { firstIndex, n, output, send }: Sending,
): Promise<FinishedEvent['usage'][]> {
  const usages: FinishedEvent['usage'][] = []
  if (output.endpoint === 'chat') for (let i = 0; i < n; i++) await send([roleChoice(firstIndex + i)])
  const textStarts = new Map<number, number>()
  for await (const event of rest(request)) {
    if (event.kind === 'chunk') {
      const textStart = textStarts.get(event.choice) ?? 0
      textStarts.set(event.choice, textStart + textLength(event))
      await send([chunkChoice(firstIndex + event.choice, event, output, textStart)])
    }
    if (event.kind !== 'finished') continue
    usages.push(event.usage)
    await send([finishChoice(firstIndex + event.choice, event, output)])
  }
  return usages
}

function firstAccepted(started: readonly Started[]): AcceptedEvent {
  const accepted = started[0]?.accepted
  if (accepted === undefined) throw new ClusterError('internal', 'a call without requests')
  return accepted
}

function nameRequest({ requestId, response }: Exchange, { requestId: drawn }: AcceptedEvent): void {
  response.setHeader('x-request-id', requestId ?? drawn)
}
