// What can become of a request that goes wrong: a failure has a kind of a closed form, so that a report can count it.

import { printable } from './printable.js'

/** `http_404`, `grpc_unavailable` and the like carry the server's own code. */
export type FailureKind =
  | 'connect_refused'
  | 'connect_failed' // no such host, no route, a TLS handshake that failed
  | 'connect_timeout'
  | 'connection_reset' // before any answer
  | 'first_byte_timeout'
  | 'chunk_timeout'
  | 'request_timeout'
  | 'closed_mid_stream'
  | 'wrong_content_type'
  | 'wrong_content_encoding' // gzip and the like would hold tokens back: none is asked for
  | 'bad_http'
  | 'bad_json'
  | 'bad_chunk' // JSON, but nothing of a completion
  | 'bad_stream' // no event in it
  | 'empty_answer' // an end mark alone: no output, and no reason why
  | 'server_error' // told inside the stream
  | 'in_flight_limit' // never sent
  | 'no_prompt' // the trace does not tell it in a form that the endpoint takes
  | 'too_long' // for the endpoint, as it tells its own limit
  | 'cancelled'
  | 'internal'
  | `http_${number}`
  | `grpc_${string}`

const MAX_CHARS = 300

/** One line: much of a message is the endpoint's, and it goes into every report. */
function brief(message: string): string {
  const line = printable(message.slice(0, 4 * MAX_CHARS))
    .replace(/\s+/g, ' ')
    .trim()
  return line.length > MAX_CHARS ? `${line.slice(0, MAX_CHARS)}…` : line
}

/** One request's failure. */
export class RequestFailure extends Error {
  override readonly name = 'RequestFailure'
  readonly kind: FailureKind
  readonly code: number | undefined // an HTTP status, where there is one

  constructor(kind: FailureKind, message: string, options: { cause?: unknown; code?: number | undefined } = {}) {
    super(brief(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.code = options.code
  }

  static from(error: unknown): RequestFailure {
    if (error instanceof RequestFailure) return error
    return new RequestFailure('internal', error instanceof Error ? error.message : String(error), { cause: error })
  }
}
