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
import { z } from 'zod'
import { ClusterError, type ErrorCode } from '../errors.js'
import {
  DEFAULT_MAX_AGE_MS,
  DEFAULT_MAX_BYTES,
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

const OPEN_TIMEOUT_MS = 10_000
const RETRY_MS = 50
const FIRST_TRY_MS = 500 // of a request that may be sent again; the next waits twice as long
const NUM_REPLICAS = 3
const HEADER_BYTES = 1024 // of a message beside its value, at most
const DUPLICATE_WINDOW_MS = 30_000 // longer than a message can be under way in a cluster
const LEAST_STREAM_BYTES = 1024 * 1024
const NANOSECONDS = 1_000_000 // of a millisecond

// The server's error numbers (nats-server, server/errors.json).
const WRONG_SEQUENCE = 10071
const SAME_ID_UNDER_WAY = 10158
const NO_MESSAGE = 10037
const NO_STREAM = 10059
const GONE = new Set([NO_MESSAGE, NO_STREAM, 10043]) // it had been deleted meanwhile
const NAME_IN_USE = 10058 // with another configuration
const STORE_FAILED = 10077
const NOT_ENABLED = new Set([10076, 10039]) // on the server, for the account
const TOO_LARGE = new Set([10047, 10023, 10002, 10122, 10110]) // storage, resources, account, stream bound
const NO_PEERS = 10005 // for so many replicas, or with so much room

const apiError = z.object({ code: z.number(), err_code: z.number().optional(), description: z.string().optional() })
type ApiError = z.infer<typeof apiError>

const answerSchema = z.object({
  error: apiError.optional(),
  stream: z.string().optional(), // of an acknowledgement
  seq: z.number().optional(),
  duplicate: z.boolean().optional(), // its message id was there
  message: z.object({ seq: z.number(), data: z.string().optional() }).optional(),
  config: z
    .object({
      subjects: z.array(z.string()).optional(),
      storage: z.string(),
      discard: z.string(),
      max_msgs_per_subject: z.number(),
    })
    .optional(),
})
type Answer = z.infer<typeof answerSchema>

const failure = (code: ErrorCode, message: string, reason: string): ClusterError =>
  new ClusterError(code, message, { details: { reason } })

/** Throws `failed_precondition` (NO_JETSTREAM, STREAM_MISMATCH), `resource_exhausted` or `unavailable`. */
export async function openJetStreamStore(port: JetStreamPort, options: RecordsOptions): Promise<RecordStore> {
  const { stream, subject } = options
  const maxValueBytes = Math.min(MAX_VALUE_BYTES, port.maxPayloadBytes - HEADER_BYTES)
  const subjectOf = (key: string): string => `${subject}.${createHash('sha256').update(key, 'utf16le').digest('hex')}`
  let isClosed = false

  const ask = async (action: string, body: unknown, timeoutMs: number): Promise<Answer> =>
    parse(await port.request(`$JS.API.${action}`, Buffer.from(JSON.stringify(body)), { timeoutMs }))

  let numReplicas = port.isClustered ? NUM_REPLICAS : 1

  const ensureOnce = async (timeoutMs: number): Promise<void> => {
    const found = await ask(`STREAM.INFO.${stream}`, {}, timeoutMs)
    if (found.error === undefined) return requireOurs(found, options)
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

  const { timeoutMs: openTimeoutMs = OPEN_TIMEOUT_MS } = options
  const opened = Date.now()
  await untilDeadline(opened + openTimeoutMs, mayComeRight, async (tryMs) => {
    if (Date.now() > opened + openTimeoutMs / 2) numReplicas = 1 // the others were waited for
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

type Ask = (action: string, body: unknown, timeoutMs: number) => Promise<Answer>

interface CreateOptions {
  readonly numReplicas: number
  readonly timeoutMs: number // of each request
}

/** Makes the stream, as large as the server and the account allow. */
async function createStream(ask: Ask, options: RecordsOptions, { numReplicas, timeoutMs }: CreateOptions) {
  const { stream, subject, maxAgeMs = DEFAULT_MAX_AGE_MS } = options
  for (let maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES; ; maxBytes = Math.floor(maxBytes / 2)) {
    const { error } = await ask(
      `STREAM.CREATE.${stream}`,
      {
        name: stream,
        subjects: [`${subject}.*`],
        storage: 'file',
        retention: 'limits',
        discard: 'new', // a full stream refuses new keys; one message a subject: an old key is still overwritten
        max_msgs_per_subject: 1,
        duplicate_window: Math.min(maxAgeMs, DUPLICATE_WINDOW_MS) * NANOSECONDS,
        max_age: maxAgeMs * NANOSECONDS,
        max_bytes: maxBytes,
        num_replicas: numReplicas,
      },
      timeoutMs,
    )
    if (error === undefined) return
    if (error.err_code === NAME_IN_USE) return requireOurs(await ask(`STREAM.INFO.${stream}`, {}, timeoutMs), options)
    const isTooLarge =
      TOO_LARGE.has(error.err_code ?? 0) || (error.err_code === NO_PEERS && /storage/.test(error.description ?? ''))
    if (!isTooLarge || maxBytes / 2 < LEAST_STREAM_BYTES) throw toClusterError(error)
  }
}

function requireOurs({ config, error }: Answer, { stream, subject }: RecordsOptions): void {
  if (error !== undefined) throw toClusterError(error)
  const isOurs =
    config?.storage === 'file' &&
    config.discard === 'new' &&
    config.max_msgs_per_subject === 1 &&
    config.subjects?.includes(`${subject}.*`) === true
  if (isOurs) return
  const want = `file storage, discard new, one message a subject and the subjects ${subject}.*`
  throw failure(
    'failed_precondition',
    `stream ${stream}: want ${want}, found ${JSON.stringify(config)}`,
    'STREAM_MISMATCH',
  )
}

function parse(bytes: Uint8Array): Answer {
  try {
    return answerSchema.parse(JSON.parse(Buffer.from(bytes).toString()))
  } catch (error) {
    throw new ClusterError('internal', 'journal: want an answer of JetStream, got something else', { cause: error })
  }
}

function toClusterError({ code, err_code: number = 0, description = '' }: ApiError): ClusterError {
  const message = `journal: JetStream says: ${description}`
  if (NOT_ENABLED.has(number)) return failure('failed_precondition', message, 'NO_JETSTREAM')
  const isFull = TOO_LARGE.has(number) || (number === STORE_FAILED && /maximum|no space/.test(description))
  if (isFull) return failure('resource_exhausted', message, 'STORE_FULL')
  return failure(code >= 500 ? 'unavailable' : 'internal', message, 'JETSTREAM')
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
