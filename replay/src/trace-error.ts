// What reading a trace can fail with.

export type TraceErrorCode = 'not_found' | 'invalid_argument' | 'failed_precondition'

/** Names the file, the line where there is one, what was wanted and what was found. */
export class TraceError extends Error {
  override readonly name = 'TraceError'
  readonly code: TraceErrorCode

  constructor(code: TraceErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.code = code
  }
}
