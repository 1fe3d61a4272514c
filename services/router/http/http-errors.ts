// Errors as OpenAI's clients expect them: `{"error": {message, type, param, code}}` under the matching HTTP status.

import type { ClusterError, ErrorCode } from '../../../lib/errors.js'

interface Mapping {
  readonly status: number
  readonly type: string
}

const MAPPING: Record<ErrorCode, Mapping> = {
  cancelled: { status: 499, type: 'server_error' },
  invalid_argument: { status: 400, type: 'invalid_request_error' },
  deadline_exceeded: { status: 504, type: 'timeout_error' },
  not_found: { status: 404, type: 'invalid_request_error' },
  already_exists: { status: 409, type: 'invalid_request_error' },
  permission_denied: { status: 403, type: 'permission_error' },
  resource_exhausted: { status: 429, type: 'rate_limit_error' },
  failed_precondition: { status: 400, type: 'invalid_request_error' },
  aborted: { status: 409, type: 'server_error' },
  unimplemented: { status: 501, type: 'invalid_request_error' },
  internal: { status: 500, type: 'server_error' },
  unavailable: { status: 503, type: 'server_error' },
  data_loss: { status: 500, type: 'server_error' },
  unauthenticated: { status: 401, type: 'authentication_error' },
}

/** Details may carry a more exact status (413, 405). */
export const httpStatus = (error: ClusterError): number =>
  Number(error.details.httpStatus ?? MAPPING[error.code].status)

export function errorBody(error: ClusterError): { readonly error: Readonly<Record<string, unknown>> } {
  const { reason, field } = error.details
  return {
    error: {
      message: error.message,
      type: MAPPING[error.code].type,
      param: field ?? null,
      code: (reason ?? error.code).toLowerCase(),
    },
  }
}
