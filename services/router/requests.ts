// The requests that this router knows: idempotency, deadlines, and the end of each.
//
// Invariants
//   I2  An accepted request ends in its results or in one typed error.
//   I5  Running and waiting sequences are bounded; above the bound a request is refused at the door, retryable.
//   R3  A request id that is known is joined, never run twice; with another body it is refused.

import type { Span } from '@opentelemetry/api'
import { createHash } from 'node:crypto'
import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import { createTimeline, type Timeline } from './capture/timeline.js'
import type { GenerateInput, RequestState } from './engine.js'
import { requestKey, type JournalRecord, type Owner } from './journal.js'
import type { JournaledRun } from './journaled-run.js'
import { createRequestLog, type RequestLog } from './request-log.js'
import type { Sequence } from './sequence.js'
import { watchReader } from './slow-reader.js'
import type { ValidRequest } from './validate.js'

const KEEP_FINISHED = 512
const KEEP_BYTES = 128 * 2 ** 20 // of what they yielded

/** What was accepted, and what its answer is a function of. */
export interface AcceptedRequest {
  readonly request: ValidRequest
  readonly fingerprint: string
  readonly session: string | undefined
}

export interface RequestRecord {
  readonly id: string
  readonly tenant: string
  readonly bodyHash: string
  readonly log: RequestLog
  readonly timeline: Timeline
  accepted: AcceptedRequest | undefined // while it runs here, and after
  serial: number // of its present run
  sequences: readonly Sequence[] // that run here
  journaled: JournaledRun | undefined // while it runs here
  runsAt: Owner | undefined // another router whose events are passed on
  numChoices: number // 0: not known yet
  numOpen: number // choices that have not finished
  outcome: RequestState['state']
  cancelDeadline: () => void
  span: Span | undefined
  traceparent: string | undefined
}

/** What makes a request's record: whose it is, what it says, until when. */
export interface RequestName {
  readonly id: string
  readonly tenant: string
  readonly bodyHash: string
  readonly deadlineMs: number | undefined
  readonly waitedMs?: number | undefined // since it arrived
}

export interface Requests {
  readonly numOpen: number
  /** The running or well-ended request with this id, or undefined. Throws `already_exists` where its body differs. */
  find(name: Pick<RequestName, 'id' | 'tenant'>, bodyHash: string): RequestRecord | undefined
  open(name: RequestName): RequestRecord
  /** One choice ended well. */
  choiceFinished(record: RequestRecord): void
  /** It ended well, wherever it ran. */
  finished(record: RequestRecord): void
  /** Ends the whole request with an error; what still runs of it is cancelled. */
  fail(record: RequestRecord, error: ClusterError): void
  get(tenant: string, id: string): RequestRecord | undefined
  /** The oldest first. */
  all(): Iterable<RequestRecord>
  /** Ends all that is open. */
  failAll(error: ClusterError): void
  /** Resolves when nothing is open, or after the deadline. */
  whenIdle(timeoutMs: number): Promise<void>
}

export interface RequestsOptions {
  readonly clock: Clock
  readonly cancelSequences: (sequences: readonly Sequence[]) => void
  readonly onForgotten: (record: RequestRecord) => void
  /** It has ended, for this router. */
  readonly onEnded?: ((record: RequestRecord) => void) | undefined
  /** A reader has caught up whose sequences were paused. */
  readonly onResume: () => void
}

/** Identity of a request's body: everything but its id and what only describes the call. */
export function hashBody(input: GenerateInput): string {
  const body = { ...input, requestId: undefined, session: undefined, traceparent: undefined }
  const plain = JSON.stringify(body, (_key, value: unknown) => {
    if (typeof value === 'bigint') return value.toString()
    return value instanceof Map ? [...(value as Map<unknown, unknown>)] : value // Maps have no JSON form of their own
  })
  return createHash('sha256').update(plain).digest('hex')
}

export function createRequests(options: RequestsOptions): Requests {
  const { clock, cancelSequences, onForgotten, onResume } = options
  const records = new Map<string, RequestRecord>()
  const open = new Set<RequestRecord>()
  const idle = new Set<() => void>()
  let keptBytes = 0 // of those that ended

  const finish = (record: RequestRecord, outcome: RequestState['state'], error?: ClusterError): void => {
    if (!open.delete(record)) return
    record.outcome = outcome
    record.cancelDeadline()
    record.log.close(error)
    options.onEnded?.(record)
    keptBytes += record.log.numBytes
    evict()
    if (open.size === 0) for (const wake of [...idle]) wake()
  }

  const forget = (key: string, record: RequestRecord): boolean => {
    keptBytes -= record.log.numBytes
    return records.delete(key)
  }

  const evict = (): void => {
    for (const [key, record] of records) {
      if (records.size - open.size <= KEEP_FINISHED && keptBytes <= KEEP_BYTES) return
      if (record.log.isClosed && forget(key, record)) onForgotten(record)
    }
  }

  const fail = (record: RequestRecord, error: ClusterError): void => {
    const { sequences, journaled } = record
    if (open.has(record)) journaled?.end(endingOf(error))
    finish(record, outcomeOf(error), error)
    for (const sequence of sequences) sequence.emitter.fail(error)
    cancelSequences(sequences)
  }

  const finished = (record: RequestRecord): void => {
    if (open.has(record)) record.journaled?.end({ state: 'finished' })
    finish(record, 'finished')
  }

  return {
    get numOpen() {
      return open.size
    },
    find: ({ id, tenant }, bodyHash) => {
      const key = requestKey(tenant, id)
      const record = records.get(key)
      if (record !== undefined) checkBody(id, record.bodyHash, bodyHash)
      // What ended badly may be asked for again under its id; what runs or ended well is joined.
      const isOver = record?.outcome === 'failed' || record?.outcome === 'cancelled'
      if (record !== undefined && isOver) forget(key, record)
      return isOver ? undefined : record
    },
    open: ({ id, tenant, bodyHash, deadlineMs, waitedMs }) => {
      const timeline = createTimeline(clock, waitedMs)
      const log = createRequestLog(clock, ({ choice, tokenIds }) => timeline.chunk(choice, tokenIds.length))
      const record: RequestRecord = {
        id,
        tenant,
        bodyHash,
        log,
        timeline,
        accepted: undefined,
        serial: 0,
        sequences: [],
        journaled: undefined,
        runsAt: undefined,
        numChoices: 0,
        numOpen: 0,
        outcome: 'running',
        cancelDeadline: () => undefined,
        span: undefined,
        traceparent: undefined,
      }
      records.set(requestKey(tenant, id), record)
      open.add(record)
      watchReader(log, { clock, onResume, onStuck: (error) => fail(record, error) })
      log.onAbandoned(() => fail(record, left(id)))
      if (deadlineMs !== undefined) {
        const late = (): void =>
          fail(record, new ClusterError('deadline_exceeded', `request ${id}: not finished within its deadline`))
        record.cancelDeadline = clock.after(Math.max(0, deadlineMs - clock.now()), late)
      }
      return record
    },
    choiceFinished: (record) => {
      record.numOpen -= 1
      if (record.numOpen === 0) finished(record)
    },
    finished,
    fail,
    failAll: (error) => {
      for (const record of [...open]) fail(record, error)
    },
    all: () => records.values(),
    get: (tenant, id) => records.get(requestKey(tenant, id)),
    whenIdle: (timeoutMs) =>
      new Promise((resolve) => {
        if (open.size === 0) {
          resolve()
          return
        }
        const done = (): void => {
          cancelTimer()
          idle.delete(done)
          resolve()
        }
        const cancelTimer = clock.after(timeoutMs, done)
        idle.add(done)
      }),
  }
}

export const unknownRequest = (id: string): ClusterError =>
  new ClusterError('not_found', `request ${id}: not known here`, { details: { reason: 'REQUEST_NOT_FOUND' } })

/** Throws `already_exists` where an id is used again with another body. */
export function checkBody(id: string, known: string, given: string): void {
  if (known === given) return
  throw new ClusterError('already_exists', `request id ${id}: already used with another body`, {
    details: { reason: 'REQUEST_ID_REUSED', requestId: id },
  })
}

/** Ends that are none: whoever asks again gets the rest. */
const LEFT_REASONS: ReadonlySet<string> = new Set(['CLIENT_LEFT', 'ROUTER_LEAVING'])

export const meansLeft = (error: ClusterError | undefined): boolean => LEFT_REASONS.has(error?.details.reason ?? '')

/**
 * Whether what ended was not the request, but this router's part in it: it could not be journaled, or followed, for a
 * while. Whoever asks again is answered from the journal.
 */
export const isDetached = ({ log, journaled }: RequestRecord): boolean =>
  journaled === undefined && log.error?.isRetryable === true

/** What was handed over did not fail: it goes on elsewhere. */
export const outcomeOf = (error: ClusterError): 'cancelled' | 'failed' =>
  error.code === 'cancelled' || meansLeft(error) ? 'cancelled' : 'failed'

/** How the journal tells a request's end. */
export function endingOf(error: ClusterError): Pick<JournalRecord, 'state' | 'error'> {
  if (meansLeft(error)) return { state: 'left' }
  return { state: outcomeOf(error), error: plain(error) }
}

/** Whether a request ended because nobody was there. */
export const isLeft = ({ log }: RequestRecord): boolean => meansLeft(log.error)

const left = (id: string): ClusterError =>
  new ClusterError('cancelled', `request ${id}: the client left`, { details: { reason: 'CLIENT_LEFT' } })

const plain = (error: ClusterError) => ({ ...error.toWire(), details: { ...error.details } })

/** What a client may see of a request: tokens and text per choice so far. */
export function requestState({
  id,
  log,
  outcome,
  numChoices,
}: Pick<RequestRecord, 'id' | 'log' | 'outcome' | 'numChoices'>): RequestState {
  const ends = log.events.filter((event) => event.kind === 'finished')
  const chunks = log.events.filter((event) => event.kind === 'chunk')
  const choices = Array.from({ length: numChoices }, (_, choice) => {
    const mine = chunks.filter((event) => event.choice === choice)
    const end = ends.find((event) => event.choice === choice)
    return {
      tokenIds: mine.flatMap((event) => [...event.tokenIds]),
      text: mine.map((event) => event.text).join(''),
      ...(end === undefined ? {} : { finishReason: end.reason }),
    }
  })
  return { requestId: id, state: outcome, choices }
}
