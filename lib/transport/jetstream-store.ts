// Records in a JetStream stream: the last message of a subject is the record, its sequence number the revision.
// Spoken over plain request and reply with the server's own JSON, so that nothing here needs the client.
//
// Invariants
//   J1  A put is sent again only when nobody took it: what may have happened is never sent twice.
//   J2  A lost stream is made again by the next put; its records are lost, and nothing pretends otherwise.
//   J3  Reads ask the stream's leader, never a follower that may be behind.
//   J4  One put wins at each revision. A cluster of servers (seen in 2.9) compares the expected sequence before it orders
//       the messages, so that two under way both pass; the message id, made of key and expected revision, is compared
//       after. Where the key must be absent the server compares after by itself.

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError } from '../errors.js'
import {
  failure,
  NO_MESSAGE,
  NO_STREAM,
  parse,
  SAME_ID_UNDER_WAY,
  GONE,
  toClusterError,
  WRONG_SEQUENCE,
  type Answer,
  type Ask,
} from './jetstream-answers.js'
import { createStream, keepAsOften, requireOurs } from './jetstream-stream.js'
import {
  DEFAULT_OPEN_TIMEOUT_MS,
  MAX_VALUE_BYTES,
  requireKey,
  requireValue,
  revisionError,
  type RecordStore,
} from './record-store.js'
import type { RecordsOptions } from './transport.js'

/** One connection, as far as the store needs it. */
export interface JetStreamPort {
  readonly maxPayloadBytes: number
  readonly isClustered: boolean
  /** Throws `unavailable`, with reason DISCONNECTED, NO_RESPONDERS (nothing happened) or UNCONFIRMED. */
  request(
    subject: string,
    payload: Uint8Array,
    options: { readonly timeoutMs: number; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<Uint8Array>
}

const PEERS_WAIT_MS = DEFAULT_OPEN_TIMEOUT_MS / 2 // for enough servers to keep copies
const RETRY_MS = 50
const FIRST_TRY_MS = 500 // of a request that may be sent again; the next waits twice as long
const NUM_REPLICAS = 3
const HEADER_BYTES = 1024 // of a message beside its value, at most

/** Throws `failed_precondition` (NO_JETSTREAM, STREAM_MISMATCH), `resource_exhausted` or `unavailable`. */
export async function openJetStreamStore(port: JetStreamPort, options: RecordsOptions): Promise<RecordStore> {
  const { stream, subject } = options
  const maxValueBytes = Math.min(MAX_VALUE_BYTES, port.maxPayloadBytes - HEADER_BYTES)
  const subjectOf = (key: string): string => `${subject}.${createHash('sha256').update(key, 'utf16le').digest('hex')}`
  let isClosed = false

  const ask: Ask = async (action, body, timeoutMs) =>
    parse(await port.request(`$JS.API.${action}`, Buffer.from(JSON.stringify(body)), { timeoutMs }))

  let numReplicas = options.replicas ?? (port.isClustered ? NUM_REPLICAS : 1)

  const ensureOnce = async (timeoutMs: number): Promise<void> => {
    const found = await ask(`STREAM.INFO.${stream}`, {}, timeoutMs)
    if (found.error === undefined) {
      requireOurs(found, options)
      return keepAsOften(ask, found, { ...options, timeoutMs })
    }
    if (found.error.err_code !== NO_STREAM) throw toClusterError(found.error)
    await createStream(ask, options, { numReplicas, timeoutMs })
  }

  let ensuring: Promise<void> | undefined
  /** Looks for the stream and makes it where it is missing; who comes meanwhile waits for the same answer. */
  const ensure = (timeoutMs: number): Promise<void> =>
    (ensuring ??= ensureOnce(timeoutMs).finally(() => {
      ensuring = undefined
    }))

  const findSequence = async (key: string, timeoutMs: number): Promise<number | undefined> => {
    const { error, message } = await ask(`STREAM.MSG.GET.${stream}`, { last_by_subj: subjectOf(key) }, timeoutMs)
    if (error === undefined || GONE.has(error.err_code ?? 0)) return message?.seq
    throw toClusterError(error)
  }

  const requireOpen = (key: string): void => {
    requireKey(key)
    if (isClosed) throw new ClusterError('unavailable', 'records: the store is closed')
  }

  const { timeoutMs: openTimeoutMs = DEFAULT_OPEN_TIMEOUT_MS } = options
  const opened = Date.now()
  await untilDeadline(opened + openTimeoutMs, mayComeRight, async (tryMs) => {
    const isLate = Date.now() > opened + Math.min(PEERS_WAIT_MS, openTimeoutMs / 2)
    if (isLate && options.replicas === undefined) numReplicas = 1 // the others were waited for
    await ensure(tryMs).catch(explainMissing)
  })

  return {
    isDurable: true,
    maxValueBytes,
    put: async (key, value, expected, { timeoutMs }) => {
      requireOpen(key)
      requireValue(value, maxValueBytes)
      const giveUp = Date.now() + timeoutMs
      const payload = Uint8Array.from(value)
      const headers = {
        'Nats-Expected-Stream': stream,
        'Nats-Expected-Last-Subject-Sequence': String(expected),
        ...(expected > 0 && { 'Nats-Msg-Id': `${subjectOf(key)}.${expected}` }),
      }
      return untilDeadline(giveUp, wasNotTaken, async () => {
        try {
          const answer = parse(await port.request(subjectOf(key), payload, { timeoutMs: leftMs(giveUp), headers }))
          if (isOvertaken(answer))
            throw revisionError(key, `want revision ${expected}, found another (${answer.error?.description ?? ''})`)
          if (answer.error !== undefined) throw toClusterError(answer.error)
          if (answer.seq === undefined)
            throw new ClusterError('internal', 'journal: want an acknowledgement, got another answer')
          return answer.seq
        } catch (error) {
          // Nobody listens there: the stream is gone, or has no leader at this moment.
          if (wasNotTaken(error)) await ensure(Math.min(FIRST_TRY_MS, leftMs(giveUp))).catch(requireUnavailable)
          throw error
        }
      })
    },
    get: async (key, { timeoutMs }) => {
      requireOpen(key)
      const giveUp = Date.now() + timeoutMs
      return untilDeadline(giveUp, mayComeRight, async (tryMs) => {
        const { error, message } = await ask(`STREAM.MSG.GET.${stream}`, { last_by_subj: subjectOf(key) }, tryMs)
        if (error?.err_code === NO_MESSAGE || error?.err_code === NO_STREAM) return undefined
        if (error !== undefined) throw toClusterError(error)
        if (message === undefined) throw new ClusterError('internal', 'journal: want a message, got another answer')
        return { value: Uint8Array.from(Buffer.from(message.data ?? '', 'base64')), revision: message.seq }
      })
    },
    remove: async (key, { timeoutMs, revision }) => {
      requireOpen(key)
      const giveUp = Date.now() + timeoutMs
      await untilDeadline(giveUp, mayComeRight, async (tryMs) => {
        // By its number: a purge by subject (seen in 2.9) leaves its bytes in the server's account for ever.
        const seq = revision ?? (await findSequence(key, tryMs))
        if (seq === undefined) return
        const deletion = { seq, no_erase: true } // not overwritten with random bytes first
        const { error } = await ask(`STREAM.MSG.DELETE.${stream}`, deletion, tryMs)
        if (error !== undefined && !GONE.has(error.err_code ?? 0)) throw toClusterError(error)
      })
    },
    close: async () => {
      isClosed = true
    },
  }
}

/** Another put at this revision was there first: or an earlier one of the same caller, whose answer was lost. */
const isOvertaken = ({ error, duplicate }: Answer): boolean =>
  duplicate === true || error?.err_code === WRONG_SEQUENCE || error?.err_code === SAME_ID_UNDER_WAY

const reasonOf = (error: unknown): string => (error instanceof ClusterError ? (error.details.reason ?? '') : '')
const isUnavailable = (error: unknown): boolean => error instanceof ClusterError && error.code === 'unavailable'
const wasNotTaken = (error: unknown): boolean => reasonOf(error) === 'NO_RESPONDERS'
const mayComeRight = (error: unknown): boolean => isUnavailable(error) && reasonOf(error) !== 'DISCONNECTED'
const leftMs = (giveUp: number): number => Math.max(1, giveUp - Date.now())

function explainMissing(error: unknown): never {
  if (!wasNotTaken(error)) throw error
  throw failure('failed_precondition', 'journal: want a NATS server with JetStream, found one without', 'NO_JETSTREAM')
}

function requireUnavailable(error: unknown): void {
  if (!isUnavailable(error)) throw error
}

/** Tries again while it may come right and there is time. */
async function untilDeadline<T>(
  giveUp: number,
  isWorthIt: (error: unknown) => boolean,
  attempt: (tryMs: number) => Promise<T>,
): Promise<T> {
  for (let tryMs = FIRST_TRY_MS; ; tryMs *= 2) {
    try {
      return await attempt(Math.min(tryMs, leftMs(giveUp)))
    } catch (error) {
      if (!isWorthIt(error) || giveUp - Date.now() <= RETRY_MS) throw error
    }
    await sleep(RETRY_MS)
  }
}
