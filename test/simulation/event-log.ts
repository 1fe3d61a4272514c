// What happened, in order: a digest that tells two runs apart, and lines to read where somebody wants to.

import { createHash } from 'node:crypto'
import { decodeFrame } from '../../lib/wire/frame.js'

export interface EventLog {
  readonly numMessages: number
  /** One thing that happened; `bytes` go into the digest, and are described where lines are wanted. */
  note(atMs: number, what: string, bytes?: Uint8Array): void
  digest(): string
}

export function createEventLog(write?: (line: string) => void): EventLog {
  const hash = createPooledHash()
  let numMessages = 0
  return {
    get numMessages() {
      return numMessages
    },
    note: (atMs, what, bytes) => {
      hash.update(`${atMs} ${what}\n`)
      if (bytes !== undefined) {
        numMessages += 1
        hash.update(bytes)
      }
      write?.(`${atMs.toFixed(3).padStart(12)}  ${what}${bytes === undefined ? '' : `  ${describe(bytes)}`}`)
    },
    digest: () => hash.digest(),
  }
}

const POOL_BYTES = 2 ** 16

/** Takes many small pieces: a call of the real hash for each would cost more than what it hashes. */
function createPooledHash() {
  const hash = createHash('sha256')
  const pool = Buffer.allocUnsafe(POOL_BYTES)
  let numPooled = 0
  const flush = (): void => {
    hash.update(pool.subarray(0, numPooled))
    numPooled = 0
  }
  const update = (piece: string | Uint8Array): void => {
    const isText = typeof piece === 'string'
    const mostBytes = isText ? 3 * piece.length : piece.byteLength // UTF-8
    if (mostBytes > POOL_BYTES - numPooled) flush()
    if (mostBytes > POOL_BYTES) hash.update(piece)
    else if (isText) numPooled += pool.write(piece, numPooled)
    else {
      pool.set(piece, numPooled)
      numPooled += piece.byteLength
    }
  }
  return {
    update,
    digest: (): string => {
      flush()
      return hash.copy().digest('hex').slice(0, 16)
    },
  }
}

const MAX_TEXT = 400

const shortHash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 6)

/** A frame's kind and the plain fields of its body. */
function describe(bytes: Uint8Array): string {
  try {
    const { kind, ...body } = decodeFrame(bytes).message
    const text = JSON.stringify(body, (_key, value: unknown) => {
      if (value instanceof Uint8Array) return `${value.byteLength} bytes ${shortHash(value)}`
      return typeof value === 'bigint' ? value.toString() : value
    })
    return `${kind} ${text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text}`
  } catch {
    return `${bytes.byteLength} bytes`
  }
}
