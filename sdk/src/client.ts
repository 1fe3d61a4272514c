// The client of a Banyan cluster.
//
// Invariants
//   K1  A call is begun again only before it was accepted, under one request id: it never runs twice. After that it is
//       resumed, at the next address, from the tokens that came.
//   K2  Tokens come in order and once: an event that does not continue its choice is an error, never passed on.
//   K3  A request's own end, good or bad, is final: only a broken stream is resumed.

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
  /** Attempts in all before a call is accepted (default 4). */
  readonly maxAttempts?: number
  /** How long a broken stream is tried to be resumed (default 30 s); 0: never. */
  readonly resumeTimeoutMs?: number
}

/** What a test may put in place of the real thing. */
export interface ClientParts {
  readonly connection?: Connection
  readonly clock?: ClientClock
}

const FIRST_DELAY_MS = 50
const MAX_DELAY_MS = 10_000
const MAX_RESUME_DELAY_MS = 500
/** Reasons of a server that cannot go on with a request that another one can. */
const BREAKS: ReadonlySet<string> = new Set([
  '',
  'ROUTER_LEAVING',
  'DRAINING',
  'STARTING',
  'DISCONNECTED',
  'UNCONFIRMED',
  'JOURNAL_UNREACHABLE',
])

export class BanyanClient {
  private readonly connection: Connection
  private readonly maxAttempts: number
  private readonly clock: ClientClock
  private readonly resumeTimeoutMs: number

  constructor(options: ClientOptions, { connection, clock = systemClock }: ClientParts = {}) {
    this.connection = connection ?? connect(options)
    this.clock = clock
    this.maxAttempts = options.maxAttempts ?? 4
    this.resumeTimeoutMs = options.resumeTimeoutMs ?? 30_000
  }

  /**
   * Events of a request as they come, whatever becomes of the server that sends them. Leaving the loop, or aborting the
   * signal, cancels it down to the expert workers.
   */
  async *generate(request: GenerateRequest, options: CallOptions = {}): AsyncGenerator<GenerateEvent> {
    const settings = this.settings(options)
    const requestId = request.requestId || this.clock.newId()
    const message = requestMessage({ ...request, requestId })
    const progress = trackProgress(request.n)
    let method: 'Generate' | 'Resume' = 'Generate'
    let brokenSinceMs: number | undefined
    for (let attempt = 1; ; attempt++) {
      const sent = method === 'Generate' ? message : { requestId, offsets: progress.offsets() }
      try {
        for await (const reply of this.connection.stream(method, sent, settings)) {
          const event = toEvent(reply)
          if (!progress.isNew(event)) continue
          attempt = 0
          brokenSinceMs = undefined
          yield event
        }
        progress.checkEnd()
        return
      } catch (error) {
        method = progress.isAccepted && isBreak(error) ? 'Resume' : 'Generate'
        brokenSinceMs ??= this.clock.now()
        if (method === 'Resume') await this.pauseBeforeResume(error, attempt, brokenSinceMs, settings)
        else await this.pauseOrThrow(error, progress.hasTokens ? this.maxAttempts : attempt, settings)
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

  private async pauseBeforeResume(
    error: unknown,
    attempt: number,
    brokenSinceMs: number,
    { signal, deadlineUnixMs }: CallSettings,
  ): Promise<void> {
    const waitMs = Math.min(delayMs(attempt + 1, undefined, this.clock), MAX_RESUME_DELAY_MS)
    const giveUpMs = Math.min(brokenSinceMs + this.resumeTimeoutMs, deadlineUnixMs ?? Infinity)
    if (this.clock.now() + waitMs > giveUpMs || signal?.aborted === true) throw error
    if (attempt > 0) await pause(this.clock, waitMs, signal) // the first time at once: another server may be waiting
  }

  private async pauseOrThrow(error: unknown, attempt: number, { signal, deadlineUnixMs }: CallSettings): Promise<void> {
    const isRetryable = error instanceof BanyanError && error.isRetryable
    const waitMs = delayMs(attempt, error instanceof BanyanError ? error.retryAfterMs : undefined, this.clock)
    const isTooLate = deadlineUnixMs !== undefined && this.clock.now() + waitMs > deadlineUnixMs
    if (!isRetryable || attempt >= this.maxAttempts || isTooLate || signal?.aborted === true) throw error
    await pause(this.clock, waitMs, signal)
  }
}

/**
 * Twice as long each time, of which half is drawn, so that clients do not come in step; and never sooner than the server
 * advised. Its advice alone would be used up by as many tries in an outage that it cannot foresee.
 */
function delayMs(attempt: number, advisedMs: number | undefined, clock: ClientClock): number {
  const fullMs = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), MAX_DELAY_MS)
  const ownMs = fullMs * (0.5 + clock.random() / 2)
  return advisedMs !== undefined && advisedMs > ownMs ? Math.min(advisedMs, MAX_DELAY_MS) : ownMs // it may be no number
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

/** Whether the stream broke, rather than that its request ended. */
const isBreak = (error: unknown): boolean =>
  error instanceof BanyanError && error.isRetryable && BREAKS.has(error.reason)

/** What has been passed on of a request, over all of its streams. */
function trackProgress(n: number | undefined) {
  const numChoices = n || 1
  const held = Array.from({ length: numChoices }, () => 0)
  const finished = new Set<number>()
  let accepted: AcceptedEvent | undefined

  /** Throws `data_loss` where an event does not continue what came before (K2). */
  const check = (event: GenerateEvent): boolean => {
    if (event.type === 'accepted') {
      if (accepted !== undefined && accepted.fingerprint !== event.fingerprint)
        throw new BanyanError('data_loss', `resumed by ${event.fingerprint}, begun by ${accepted.fingerprint}`)
      const isFirst = accepted === undefined
      accepted ??= event
      return isFirst
    }
    if (event.type === 'finished') return finished.size < finished.add(event.choice).size
    const { choice, offset, tokenIds } = event
    const next = held[choice] ?? 0
    if (offset !== next) throw new BanyanError('data_loss', `choice ${choice}: want token ${next} next, got ${offset}`)
    held[choice] = next + tokenIds.length
    return true
  }

  return {
    get isAccepted() {
      return accepted !== undefined
    },
    get hasTokens() {
      return held.some((count) => count > 0)
    },
    /** Tokens of each choice. */
    offsets: () => [...held],
    /** Whether an event is to be passed on: after a resume some come again. */
    isNew: check,
    checkEnd: (): void => {
      if (finished.size === numChoices) return
      throw new BanyanError('data_loss', `the stream ended with ${finished.size} of ${numChoices} choices finished`)
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
