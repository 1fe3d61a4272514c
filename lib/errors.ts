// The one error class of Banyan. Codes follow gRPC's names, so every door maps them one to one.
//
// Invariants
//   E1  The set of codes is closed; whether a code may be retried is decided here and nowhere else.
//   E2  A message names what was wrong and what was expected.
//   E3  An error survives a trip over the wire with its code, message and details.

export type ErrorCode =
  | 'cancelled'
  | 'invalid_argument'
  | 'deadline_exceeded'
  | 'not_found'
  | 'already_exists'
  | 'permission_denied'
  | 'resource_exhausted'
  | 'failed_precondition'
  | 'aborted'
  | 'unimplemented'
  | 'internal'
  | 'unavailable'
  | 'data_loss'
  | 'unauthenticated'

const RETRYABLE: Record<ErrorCode, boolean> = {
  cancelled: false,
  invalid_argument: false,
  deadline_exceeded: false,
  not_found: false,
  already_exists: false,
  permission_denied: false,
  resource_exhausted: true,
  failed_precondition: false,
  aborted: true,
  unimplemented: false,
  internal: false,
  unavailable: true,
  data_loss: false,
  unauthenticated: false,
}

/** `reason` is UPPER_SNAKE (google.rpc.ErrorInfo); the other details are short strings. */
export type ErrorDetails = Readonly<Record<string, string>>

export interface WireError {
  readonly code: ErrorCode
  readonly message: string
  readonly details: ErrorDetails
}

/** An error with a closed code, a message that says what was wanted and what was found, and string details. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError'
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
  }

  get isRetryable(): boolean {
    return RETRYABLE[this.code]
  }

  /** Keeps a ClusterError, turns an abort into `cancelled` and anything else into `internal`. */
  static from(error: unknown): ClusterError {
    if (error instanceof ClusterError) return error
    if (error instanceof Error && error.name === 'AbortError')
      return new ClusterError('cancelled', error.message, { cause: error })
    const message = error instanceof Error ? error.message : String(error)
    return new ClusterError('internal', message, { cause: error })
  }

  static fromWire(wire: WireError): ClusterError {
    return new ClusterError(wire.code, wire.message, { details: wire.details })
  }

  toWire(): WireError {
    return { code: this.code, message: this.message, details: this.details }
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(RETRYABLE, value)
}
