// The stream behind a JetStream store: made where it is missing, looked at where there is one.

import {
  failure,
  NAME_IN_USE,
  NO_PEERS,
  toClusterError,
  TOO_LARGE,
  type Answer,
  type Ask,
} from './jetstream-answers.js'
import { DEFAULT_MAX_AGE_MS, DEFAULT_MAX_BYTES } from './record-store.js'
import type { RecordsOptions } from './transport.js'

const DUPLICATE_WINDOW_MS = 30_000 // longer than a message can be under way in a cluster
const LEAST_STREAM_BYTES = 1024 * 1024
const NANOSECONDS = 1_000_000 // of a millisecond

interface CreateOptions {
  readonly numReplicas: number
  readonly timeoutMs: number // of each request
}

/** Makes the stream, as large as the server and the account allow. */
export async function createStream(ask: Ask, options: RecordsOptions, { numReplicas, timeoutMs }: CreateOptions) {
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

/** An existing stream is kept by as many servers as were asked for, from now on. */
export async function keepAsOften(
  ask: Ask,
  { config }: Answer,
  { stream, replicas, timeoutMs }: Pick<RecordsOptions, 'stream' | 'replicas'> & { readonly timeoutMs: number },
): Promise<void> {
  if (replicas === undefined || config?.num_replicas === replicas) return
  const { error } = await ask(`STREAM.UPDATE.${stream}`, { ...config, num_replicas: replicas }, timeoutMs)
  if (error !== undefined) throw toClusterError(error)
}

export function requireOurs({ config, error }: Answer, { stream, subject }: RecordsOptions): void {
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
