// What JetStream's API answers, and what its errors mean here.

import * as z from 'zod'
import { ClusterError, type ErrorCode } from '../errors.js'

// The server's error numbers (nats-server, server/errors.json).
export const WRONG_SEQUENCE = 10071
export const SAME_ID_UNDER_WAY = 10158
export const NO_MESSAGE = 10037
export const NO_STREAM = 10059
export const GONE = new Set([NO_MESSAGE, NO_STREAM, 10043]) // it had been deleted meanwhile
export const NAME_IN_USE = 10058 // with another configuration
const STORE_FAILED = 10077
const NOT_ENABLED = new Set([10076, 10039]) // on the server, for the account
export const TOO_LARGE = new Set([10047, 10023, 10002, 10122, 10110]) // storage, resources, account, stream bound
export const NO_PEERS = 10005 // for so many replicas, or with so much room

const apiError = z.object({ code: z.number(), err_code: z.number().optional(), description: z.string().optional() })
type ApiError = z.infer<typeof apiError>

const answerSchema = z.object({
  error: apiError.optional(),
  stream: z.string().optional(), // of an acknowledgement
  seq: z.number().optional(),
  duplicate: z.boolean().optional(), // its message id was there
  message: z.object({ seq: z.number(), data: z.string().optional() }).optional(),
  config: z // whole: it is sent back where one part of it changes
    .looseObject({
      subjects: z.array(z.string()).optional(),
      storage: z.string(),
      discard: z.string(),
      max_msgs_per_subject: z.number(),
      num_replicas: z.number(),
    })
    .optional(),
})
export type Answer = z.infer<typeof answerSchema>

export const failure = (code: ErrorCode, message: string, reason: string): ClusterError =>
  new ClusterError(code, message, { details: { reason } })

export type Ask = (action: string, body: unknown, timeoutMs: number) => Promise<Answer>

export function parse(bytes: Uint8Array): Answer {
  try {
    return answerSchema.parse(JSON.parse(Buffer.from(bytes).toString()))
  } catch (error) {
    throw new ClusterError('internal', 'journal: want an answer of JetStream, got something else', { cause: error })
  }
}

export function toClusterError({ code, err_code: number = 0, description = '' }: ApiError): ClusterError {
  const message = `journal: JetStream says: ${description}`
  if (NOT_ENABLED.has(number)) return failure('failed_precondition', message, 'NO_JETSTREAM')
  const isFull = TOO_LARGE.has(number) || (number === STORE_FAILED && /maximum|no space/.test(description))
  if (isFull) return failure('resource_exhausted', message, 'STORE_FULL')
  const isComing = number === NO_PEERS || number === NO_STREAM // other servers; a stream that another is just making
  if (isComing) return failure('unavailable', message, 'JETSTREAM')
  return failure(code >= 500 ? 'unavailable' : 'internal', message, 'JETSTREAM')
}
