// The client of a Banyan cluster.
//
// Invariants
//   K1  A call is retried only before its first token, and only where the code says that a retry may help.
//   K2  Tokens come in order and once: an event that does not continue its choice is an error, never passed on.

import { systemClock, type ClientClock } from './clock.js'
import { connect, type CallSettings, type Connection, type ConnectionOptions } from './connection.js'
import { requestMessage, toEvent, toModelInfo, toServerInfo } from './convert.js'
import { BanyanError } from './errors.js'
import type { Plain } from './proto.js'
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

/** What a test may put in place of the real thing. */
export interface ClientParts {
  readonly connection?: Connection
  readonly clock?: ClientClock
}

const FIRST_DELAY_MS = 50
const MAX_DELAY_MS = 10_000

export class BanyanClient {
  private readonly connection: Connection
  private readonly maxAttempts: number
  private readonly clock: ClientClock

  constructor(options: ClientOptions, { connection, clock = systemClock }: ClientParts = {}) {
    this.connection = connection ?? connect(options)
    this.clock = clock
    this.maxAttempts = options.maxAttempts ?? 4
  }

  /** Events of a request as they come. Leaving the loop, or aborting the signal, cancels it down to the expert workers. */
  async *generate(request: GenerateRequest, options: CallOptions = {}): AsyncGenerator<GenerateEvent> {
    const settings = this.settings(options)
    let accepted: AcceptedEvent | undefined
    for (let attempt = 1; ; attempt++) {
      const progress = trackProgress(request.n)
      try {
        const message = requestMessage(withSeed(request, accepted))
        for await (const reply of this.connection.stream('Generate', message, settings)) {
          const event = toEvent(reply)
          progress.observe(event)
          if (event.type !== 'accepted') yield event
          else if (accepted === undefined) yield (accepted = event)
        }
        progress.checkEnd()
        return
      } catch (error) {
        // What was passed on cannot be taken back: after that only Resume could go on, which this version has not.
        await this.pauseOrThrow(error, progress.hasBegun ? this.maxAttempts : attempt, settings)
      }
    }
  }

  /** The whole answer. */
  async complete(request: GenerateRequest, options: CallOptions = {}): Promise<Completion> {
    const events: GenerateEvent[] = []
    for await (const event of this.generate(request, options)) events.push(event)
    return assemble(events)
  }

  /** Whether the request was still running. With several addresses every server is asked: one of them has it. */
  async cancel(requestId: string, options: CallOptions = {}): Promise<boolean> {
    const settings = this.settings(options)
    const everywhere = Array.from({ length: this.connection.numAddresses }, (_, at) =>
      this.connection.unary('Cancel', { requestId }, settings, at),
    )
    const answers = await Promise.allSettled(everywhere)
    if (answers.some((answer) => answer.status === 'fulfilled' && answer.value.cancelled === true)) return true
    const failed = answers.find((answer) => answer.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return false
  }

  async modelInfo(options: CallOptions = {}): Promise<ModelInfo> {
    return toModelInfo(await this.ask('GetModelInfo', options))
  }

  async serverInfo(options: CallOptions = {}): Promise<ServerInfo> {
    return toServerInfo(await this.ask('GetServerInfo', options))
  }

  close(): void {
    this.connection.close()
  }

  private async ask(method: string, options: CallOptions): Promise<Plain> {
    const settings = this.settings(options)
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.connection.unary(method, {}, settings)
      } catch (error) {
        await this.pauseOrThrow(error, attempt, settings)
      }
    }
  }

  private settings({ signal, deadlineMs }: CallOptions): CallSettings {
    return { signal, deadlineUnixMs: deadlineMs === undefined ? undefined : this.clock.now() + deadlineMs }
  }

  private async pauseOrThrow(error: unknown, attempt: number, { signal, deadlineUnixMs }: CallSettings): Promise<void> {
    const isRetryable = error instanceof BanyanError && error.isRetryable
    const waitMs = delayMs(attempt, error instanceof BanyanError ? error.retryAfterMs : undefined, this.clock)
    const isTooLate = deadlineUnixMs !== undefined && this.clock.now() + waitMs > deadlineUnixMs
    if (!isRetryable || attempt >= this.maxAttempts || isTooLate || signal?.aborted === true) throw error
    await pause(this.clock, waitMs, signal)
  }
}

/** The server's advice, else twice as long each time; half of that is drawn, so that clients do not come in step. */
function delayMs(attempt: number, advisedMs: number | undefined, clock: ClientClock): number {
  if (advisedMs !== undefined && advisedMs >= 0) return Math.min(advisedMs, MAX_DELAY_MS)
  const fullMs = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), MAX_DELAY_MS)
  return fullMs * (0.5 + clock.random() / 2)
}

/** A later attempt takes the seed that the first one was given or drew: the answer stays the one that was announced. */
function withSeed(request: GenerateRequest, accepted: AcceptedEvent | undefined): GenerateRequest {
  return accepted === undefined ? request : { ...request, sampling: { ...request.sampling, seed: accepted.seed } }
}

function pause(clock: ClientClock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancelTimer()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const cancelTimer = clock.after(ms, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}

/** What has been passed on of one attempt. Throws `data_loss` where an event does not continue it (K2). */
function trackProgress(n: number | undefined) {
  const counts = new Map<number, number>()
  const numChoices = n || 1
  let numFinished = 0
  let hasBegun = false
  return {
    get hasBegun() {
      return hasBegun
    },
    observe: (event: GenerateEvent): void => {
      if (event.type === 'accepted') return
      hasBegun = true
      if (event.type === 'finished') {
        numFinished += 1
        return
      }
      const { choice, offset, tokenIds } = event
      const held = counts.get(choice) ?? 0
      if (offset !== held)
        throw new BanyanError('data_loss', `choice ${choice}: want token ${held} next, got ${offset}`)
      counts.set(choice, held + tokenIds.length)
    },
    checkEnd: (): void => {
      if (numFinished === numChoices) return
      throw new BanyanError('data_loss', `the stream ended with ${numFinished} of ${numChoices} choices finished`)
    },
  }
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
    trees: mine.flatMap(({ tree }) => (tree === undefined ? [] : [tree])),
    finishReason,
    usage,
    stats,
  }
}
