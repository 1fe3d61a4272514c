// The requests this router has accepted: admission, idempotency, deadlines, and the end of each.
//
// Invariants
//   I2  An accepted request ends in its results or in one typed error.
//   I5  Running and waiting sequences are bounded; above the bound a request is refused at the door, retryable.
//   R3  A request id that is known is joined, never run twice; with another body it is refused.

import { SpanStatusCode, type Span } from '@opentelemetry/api'
import { createHash } from 'node:crypto'
import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { GenerateEvent, GenerateInput, RequestState } from './engine.js'
import { createRequestLog, type RequestLog } from './request-log.js'
import type { Sequence } from './sequence.js'

const KEEP_FINISHED = 512

export interface RequestRecord {
  readonly id: string
  readonly bodyHash: string
  readonly log: RequestLog
  sequences: readonly Sequence[]
  numOpen: number // choices that have not finished
  outcome: RequestState['state']
  cancelDeadline: () => void
  span: Span | undefined
}

export interface Requests {
  readonly numOpen: number
  /** The running or well-ended request with this id, or undefined. Throws `already_exists` where its body differs. */
  find(id: string, bodyHash: string): RequestRecord | undefined
  open(id: string, bodyHash: string, deadlineMs: number | undefined): RequestRecord
  /** One choice ended well. */
  choiceFinished(record: RequestRecord): void
  /** Ends the whole request with an error; what still runs of it is cancelled. */
  fail(record: RequestRecord, error: ClusterError): void
  get(id: string): RequestRecord | undefined
  /** Resolves when nothing is open, or after the deadline. */
  whenIdle(timeoutMs: number): Promise<void>
}

/** Identity of a request's body: everything but its id. */
export function hashBody(input: GenerateInput): string {
  const body = { ...input, requestId: undefined }
  const plain = JSON.stringify(body, (_key, value: unknown) => {
    if (typeof value === 'bigint') return value.toString()
    return value instanceof Map ? [...(value as Map<unknown, unknown>)] : value // Maps have no JSON form of their own
  })
  return createHash('sha256').update(plain).digest('hex')
}

export function createRequests(clock: Clock, cancelSequences: (sequences: readonly Sequence[]) => void): Requests {
  const records = new Map<string, RequestRecord>()
  const open = new Set<RequestRecord>()
  const idle = new Set<() => void>()

  const finish = (record: RequestRecord, outcome: RequestState['state'], error?: ClusterError): void => {
    if (!open.delete(record)) return
    record.outcome = outcome
    record.cancelDeadline()
    record.log.close(error)
    if (error !== undefined) record.span?.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
    record.span?.end()
    evict()
    if (open.size === 0) for (const wake of [...idle]) wake()
  }

  const evict = (): void => {
    for (const [id, record] of records) {
      if (records.size <= KEEP_FINISHED) return
      if (record.log.isClosed) records.delete(id)
    }
  }

  const fail = (record: RequestRecord, error: ClusterError): void => {
    const { sequences } = record
    finish(record, error.code === 'cancelled' ? 'cancelled' : 'failed', error)
    for (const sequence of sequences) sequence.emitter.fail(error)
    cancelSequences(sequences)
  }

  return {
    get numOpen() {
      return open.size
    },
    find: (id, bodyHash) => {
      const record = records.get(id)
      if (record !== undefined && record.bodyHash !== bodyHash) {
        throw new ClusterError('already_exists', `request id ${id}: already used with another body`, {
          details: { reason: 'REQUEST_ID_REUSED', requestId: id },
        })
      }
      // What ended badly may be asked for again under its id; what runs or ended well is joined.
      const isOver = record?.outcome === 'failed' || record?.outcome === 'cancelled'
      if (isOver) records.delete(id)
      return isOver ? undefined : record
    },
    open: (id, bodyHash, deadlineMs) => {
      const log = createRequestLog()
      const record: RequestRecord = {
        id,
        bodyHash,
        log,
        sequences: [],
        numOpen: 0,
        outcome: 'running',
        cancelDeadline: () => undefined,
        span: undefined,
      }
      records.set(id, record)
      open.add(record)
      log.onAbandoned(() => fail(record, new ClusterError('cancelled', `request ${id}: the client left`)))
      if (deadlineMs !== undefined) {
        const late = (): void =>
          fail(record, new ClusterError('deadline_exceeded', `request ${id}: not finished within its deadline`))
        record.cancelDeadline = clock.after(Math.max(0, deadlineMs - clock.now()), late)
      }
      return record
    },
    choiceFinished: (record) => {
      record.numOpen -= 1
      if (record.numOpen === 0) finish(record, 'finished')
    },
    fail,
    get: (id) => records.get(id),
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

/** What a client may see of a request: tokens and text per choice so far. */
export function requestState(record: RequestRecord): RequestState {
  const choices = record.sequences.map((sequence) => {
    const mine = (event: GenerateEvent): boolean => event.kind !== 'accepted' && event.choice === sequence.choice
    const events = record.log.events.filter(mine)
    const chunks = events.filter((event) => event.kind === 'chunk')
    const end = events.find((event) => event.kind === 'finished')
    return {
      tokenIds: chunks.flatMap((event) => [...event.tokenIds]),
      text: chunks.map((event) => event.text).join(''),
      ...(end === undefined ? {} : { finishReason: end.reason }),
    }
  })
  return { requestId: record.id, state: record.outcome, choices }
}
