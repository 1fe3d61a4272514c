// How a command fails: one line that names the code and the cause, a hint where there is one, and an exit code.

import { ClusterError, type ErrorCode } from '../lib/errors.js'
import { TraceError } from '../replay/src/trace-error.js'

const HINTS: Partial<Record<ErrorCode, string>> = {
  unavailable: 'is the cluster up? `banyan status` and `banyan doctor` tell more',
  unauthenticated: 'pass --api-key or set BANYAN_API_KEYS',
  data_loss: 'the checkpoint is damaged; copy it again',
  internal: 'LOG_LEVEL=debug shows where it comes from',
}

/** Writes the error to stderr and returns the exit code: 2 for usage, 130 when interrupted, else 1. */
export function reportError(
  thrown: unknown,
  options: { readonly write: (text: string) => void; readonly isDebug: boolean },
): number {
  const error = fromAny(thrown)
  const message = error.message.replace(/\s*\n\s*/g, ' ')
  options.write(`banyan: ${error.code}: ${message}\n`)
  const hint = error.details.hint ?? HINTS[error.code]
  if (hint !== undefined) options.write(`  ${hint}\n`)
  if (options.isDebug) options.write(`${stackOf(error)}\n`)
  if (error.code === 'cancelled') return 130
  return isUsage(error) ? 2 : 1
}

/** The library of traces has an error of its own, with the same codes. */
const fromAny = (thrown: unknown): ClusterError =>
  thrown instanceof TraceError
    ? new ClusterError(thrown.code, thrown.message, { cause: thrown })
    : ClusterError.from(thrown)

function stackOf(error: ClusterError): string {
  const { cause } = error
  return cause instanceof Error
    ? `${error.stack ?? ''}\ncaused by ${cause.stack ?? cause.message}`
    : (error.stack ?? '')
}

const USAGE_REASONS = new Set(['BAD_CONFIG', 'USAGE'])
const isUsage = (error: ClusterError): boolean => USAGE_REASONS.has(error.details.reason ?? '')

/** The command line itself is wrong: exit 2. */
export const usageError = (message: string): ClusterError =>
  new ClusterError('invalid_argument', message, {
    details: { reason: 'USAGE', hint: '`banyan --help` shows the commands and their flags' },
  })
