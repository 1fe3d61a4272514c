// A durable map with compare-and-set: what must outlive a process. The journal keeps accepted requests in it.
// Three of them: JetStream (over NATS), an append-only file (local transport) and memory (nothing outlives the process).
//
// Contract
//   D1  `put` resolves when the value is durable, and only then; after a crash at any moment the store holds the value
//       of the last put that resolved, or of one that was under way.
//   D2  A put whose expected revision is not the key's is refused (`aborted`, reason REVISION) and changes nothing.
//   D3  Revisions of a key rise; a removed key starts as if it had never been.
//   D4  What does not fit is refused with `resource_exhausted`; a store out of reach is `unavailable`, within the deadline.
//       A put that ended `unavailable` with reason UNCONFIRMED may have happened, or may yet: read again before the
//       next one, whose REVISION may then be the first one's doing.
//   D5  Keys are any text of 1 to 256 characters, values have at most `maxValueBytes`; else `invalid_argument`.
//   D6  A record that nobody put for as long as the store's greatest age is forgotten.

import { ClusterError } from '../errors.js'

export interface Stored {
  readonly value: Uint8Array
  readonly revision: number // > 0
}

export interface RecordStore {
  /** Whether what it holds outlives this process. */
  readonly isDurable: boolean
  readonly maxValueBytes: number
  /** Sets the value where the key's revision is `expected` (0: it must be absent); returns the new revision. */
  put(key: string, value: Uint8Array, expected: number, options: { readonly timeoutMs: number }): Promise<number>
  get(key: string, options: { readonly timeoutMs: number }): Promise<Stored | undefined>
  /** Forgets the key, with `revision` only where that is the key's; says nothing where it is unknown or another one. */
  remove(key: string, options: { readonly timeoutMs: number; readonly revision?: number }): Promise<void>
  close(): Promise<void>
}

export const MAX_KEY_CHARACTERS = 256
export const MAX_VALUE_BYTES = 4 * 1024 * 1024
export const DEFAULT_OPEN_TIMEOUT_MS = 10_000
export const DEFAULT_MAX_AGE_MS = 3_600_000
export const DEFAULT_MAX_BYTES = 256 * 1024 * 1024

/** Throws `invalid_argument`. */
export function requireKey(key: string): void {
  if (key.length >= 1 && key.length <= MAX_KEY_CHARACTERS) return
  throw new ClusterError(
    'invalid_argument',
    `record key: want 1 to ${MAX_KEY_CHARACTERS} characters, got ${key.length}`,
  )
}

/** Throws `invalid_argument`. */
export function requireValue(value: Uint8Array, maxValueBytes: number): void {
  if (value.byteLength <= maxValueBytes) return
  throw new ClusterError(
    'invalid_argument',
    `record value: want at most ${maxValueBytes} bytes, got ${value.byteLength}`,
  )
}

export const revisionError = (key: string, found: string): ClusterError =>
  new ClusterError('aborted', `record ${JSON.stringify(key)}: ${found}`, { details: { reason: 'REVISION' } })

/** The caller cannot know whether it happened. */
export const unconfirmed = (what: string, cause?: unknown): ClusterError =>
  new ClusterError('unavailable', what, { cause, details: { reason: 'UNCONFIRMED' } })
