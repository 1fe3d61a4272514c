// An HTTP door's refusal as the one error class.

import { ClusterError, isErrorCode, type ErrorCode } from '../lib/errors.js'

const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid_argument',
  401: 'unauthenticated',
  403: 'permission_denied',
  404: 'not_found',
  409: 'already_exists',
  429: 'resource_exhausted',
  499: 'cancelled',
  501: 'unimplemented',
  503: 'unavailable',
  504: 'deadline_exceeded',
}

/** Reads the OpenAI-like error body; its own code wins over the status. */
export async function httpError(response: Response): Promise<ClusterError> {
  const body: unknown = await response.json().catch(() => undefined)
  return errorFromBody(body, response.status)
}

export function errorFromBody(body: unknown, status: number): ClusterError {
  const { error } = (typeof body === 'object' && body !== null ? body : {}) as { error?: unknown } // any object may be looked at so
  const { message, code } = (typeof error === 'object' && error !== null ? error : {}) as {
    message?: unknown
    code?: unknown
  }
  const known = isErrorCode(code) ? code : (CODES[status] ?? 'internal')
  return new ClusterError(known, typeof message === 'string' ? message : `the server answered ${status}`)
}
