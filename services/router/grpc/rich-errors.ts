// gRPC statuses with google.rpc details: ErrorInfo always, RetryInfo where a retry helps.
// https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto

import protobuf from 'protobufjs'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'

/** gRPC's status numbers. */
export const STATUS: Record<ErrorCode, number> = {
  cancelled: 1,
  invalid_argument: 3,
  deadline_exceeded: 4,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  data_loss: 15,
  unauthenticated: 16,
}

const root = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
`).root

const DOMAIN = 'banyan.dev'
export const DEFAULT_RETRY_MS = 250

/** Statuses travel as HTTP/2 headers; beyond some kilobytes a peer drops the whole connection, with its other streams. */
const MAX_CHARACTERS = 480

const cut = (text: string): string => {
  if (text.length <= MAX_CHARACTERS) return text
  // Through UTF-8, so that a cut surrogate pair does not leave half a character.
  return `${Buffer.from(text.slice(0, MAX_CHARACTERS)).toString()}…`
}

/** The same error, its message and details short enough for a trailer whatever the client sent. */
export function shortened(error: ClusterError): ClusterError {
  const details = Object.fromEntries(Object.entries(error.details).map(([key, value]) => [key, cut(value)]))
  return new ClusterError(error.code, cut(error.message), { cause: error, details })
}

/** Milliseconds after which a retryable request may be tried again. */
export function retryAfterMs(error: ClusterError): number {
  const given = Number(error.details.retryAfterMs)
  return Number.isFinite(given) ? given : DEFAULT_RETRY_MS
}

function any(type: string, value: Record<string, unknown>): Record<string, unknown> {
  const message = root.lookupType(`google.rpc.${type}`)
  return {
    typeUrl: `type.googleapis.com/google.rpc.${type}`,
    value: message.encode(message.fromObject(value)).finish(),
  }
}

/** A serialised google.rpc.Status for the `grpc-status-details-bin` trailer. */
export function statusDetails(error: ClusterError): Buffer {
  const { reason = error.code.toUpperCase(), ...metadata } = error.details
  const details = [any('ErrorInfo', { reason, domain: DOMAIN, metadata })]
  if (error.isRetryable) {
    const waitMs = retryAfterMs(error)
    details.push(any('RetryInfo', { retryDelay: { seconds: Math.floor(waitMs / 1000), nanos: (waitMs % 1000) * 1e6 } }))
  }
  const status = root.lookupType('google.rpc.Status')
  return Buffer.from(
    status.encode(status.fromObject({ code: STATUS[error.code], message: error.message, details })).finish(),
  )
}
