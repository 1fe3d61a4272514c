// The client of a Banyan cluster.
//
// Invariants
//   K1  A call is retried only before its first token, and only where the code says that a retry may help.
//   K2  Tokens come in order and once: an event that does not continue its choice is an error, never passed on.

import { connect, type CallSettings, type Connection, type ConnectionOptions } from './connection.js'
import { requestMessage, toEvent, toModelInfo, toServerInfo } from './convert.js'
import { BanyanError } from './errors.js'
import type {
  AcceptedEvent,
  CallOptions,
  Choice,
  ChunkEvent,
  Completion,
  FinishedEvent,
  GenerateEvent,
  GenerateRequest,
  ModelInfo,
  ServerInfo,
} from './types.js'

export interface ClientOptions extends ConnectionOptions {
  /** Attempts in all before the first token (default 4). */
  readonly maxAttempts?: number
}

const FIRST_DELAY_MS = 50

export class BanyanClient {
  private readonly connection: Connection
  private readonly maxAttempts: number

  constructor(options: ClientOptions) {
    this.connection = connect(options)
    this.maxAttempts = options.maxAttempts ?? 4
  }

  /** Events of a request as they come. Leaving the loop, or aborting the signal, cancels it down to the expert workers. */
  async *generate(request: GenerateRequest, options: CallOptions = {}): AsyncGenerator<GenerateEvent> {
    const settings = toSettings(options)
    let accepted: AcceptedEvent | undefined
    for (let attempt = 1; ; attempt++) {
      let hasTokens = false
      try {
        const counts = new Map<number, number>()
        for await (const reply of this.connection.stream(
          'Generate',
          requestMessage(withSeed(request, accepted)),
          settings,
        )) {
          const event = toEvent(reply)
          if (event.type === 'chunk') checkOrder(event, counts)
          hasTokens ||= event.type === 'chunk'
          if (event.type !== 'accepted') yield event
          else if (accepted === undefined) yield (accepted = event)
        }
        return
      } catch (error) {
        await this.pauseOrThrow(error, hasTokens ? this.maxAttempts : attempt, settings)
      }
    }
  }

  /** The whole answer. */
  async complete(request: GenerateRequest, options: CallOptions = {}): Promise<Completion> {
    const events: GenerateEvent[] = []
    for await (const event of this.generate(request, options)) events.push(event)
    return assemble(events)
  }

  /** Whether the request was still running. */
  async cancel(requestId: string, options: CallOptions = {}): Promise<boolean> {
    const reply = await this.connection.unary('Cancel', { requestId }, toSettings(options))
    return reply.cancelled === true
  }

  async modelInfo(options: CallOptions = {}): Promise<ModelInfo> {
    return toModelInfo(await this.connection.unary('GetModelInfo', {}, toSettings(options)))
  }

  async serverInfo(options: CallOptions = {}): Promise<ServerInfo> {
    return toServerInfo(await this.connection.unary('GetServerInfo', {}, toSettings(options)))
  }

  close(): void {
    this.connection.close()
  }

  private async pauseOrThrow(error: unknown, attempt: number, { signal, deadlineUnixMs }: CallSettings): Promise<void> {
    const isRetryable = error instanceof BanyanError && error.isRetryable
    const waitMs =
      (error instanceof BanyanError ? error.retryAfterMs : undefined) ?? FIRST_DELAY_MS * 2 ** (attempt - 1)
    const isTooLate = deadlineUnixMs !== undefined && Date.now() + waitMs > deadlineUnixMs
    if (!isRetryable || attempt >= this.maxAttempts || isTooLate || signal?.aborted === true) throw error
    await pause(waitMs, signal)
  }
}

/** A later attempt takes the seed that the first one was given or drew: the answer stays the one that was announced. */
function withSeed(request: GenerateRequest, accepted: AcceptedEvent | undefined): GenerateRequest {
  return accepted === undefined ? request : { ...request, sampling: { ...request.sampling, seed: accepted.seed } }
}

const toSettings = ({ signal, deadlineMs }: CallOptions): CallSettings => ({
  signal,
  deadlineUnixMs: deadlineMs === undefined ? undefined : Date.now() + deadlineMs,
})

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}

function checkOrder({ choice, offset, tokenIds }: ChunkEvent, counts: Map<number, number>): void {
  const held = counts.get(choice) ?? 0
  if (offset !== held) throw new BanyanError('data_loss', `choice ${choice}: want token ${held} next, got ${offset}`)
  counts.set(choice, held + tokenIds.length)
}

function assemble(events: readonly GenerateEvent[]): Completion {
  const accepted = events.find((event) => event.type === 'accepted')
  const ends = events.filter((event) => event.type === 'finished').sort((a, b) => a.choice - b.choice)
  const chunks = events.filter((event) => event.type === 'chunk')
  const choices = ends.map((end) => toChoice(end, chunks))
  const [first] = choices
  if (accepted === undefined || first === undefined)
    throw new BanyanError('data_loss', 'the stream ended without a finished choice')
  const { requestId, fingerprint, seed } = accepted
  return { ...first, requestId, fingerprint, seed, choices }
}

function toChoice({ choice, finishReason, usage, stats }: FinishedEvent, chunks: readonly ChunkEvent[]): Choice {
  const mine = chunks.filter((chunk) => chunk.choice === choice)
  return {
    text: mine.map((chunk) => chunk.text).join(''),
    tokenIds: mine.flatMap((chunk) => [...chunk.tokenIds]),
    logprobs: mine.flatMap((chunk) => [...chunk.logprobs]),
    finishReason,
    usage,
    stats,
  }
}
