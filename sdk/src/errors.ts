// The one error that the SDK raises.

export const CODES = [
  'ok',
  'cancelled',
  'unknown',
  'invalid_argument',
  'deadline_exceeded',
  'not_found',
  'already_exists',
  'permission_denied',
  'resource_exhausted',
  'failed_precondition',
  'aborted',
  'out_of_range',
  'unimplemented',
  'internal',
  'unavailable',
  'data_loss',
  'unauthenticated',
] as const // in the order of gRPC's status numbers

export type Code = (typeof CODES)[number]

const RETRYABLE: ReadonlySet<Code> = new Set(['resource_exhausted', 'unavailable', 'aborted'])

/** A failed call: gRPC's code, the server's reason (google.rpc.ErrorInfo) and metadata. */
export class BanyanError extends Error {
  override readonly name = 'BanyanError'
  readonly code: Code
  readonly reason: string
  readonly metadata: Readonly<Record<string, string>>
  readonly retryAfterMs: number | undefined // the server's advice

  constructor(
    code: Code,
    message: string,
    options: {
      cause?: unknown
      reason?: string
      metadata?: Readonly<Record<string, string>>
      retryAfterMs?: number | undefined
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.reason = options.reason ?? ''
    this.metadata = options.metadata ?? {}
    this.retryAfterMs = options.retryAfterMs
  }

  get isRetryable(): boolean {
    return RETRYABLE.has(this.code)
  }
}
