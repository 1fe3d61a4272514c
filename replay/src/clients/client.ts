// What the replayer needs of an endpoint, whatever it speaks.

import type { TracePrompt, TraceSampling } from '../trace.js'

/** One request as it is to be sent. */
export interface Call {
  readonly id: string // fresh: an endpoint that knows it would answer from memory
  readonly prompt: Exclude<TracePrompt, { readonly kind: 'blocks' }>
  readonly sampling: TraceSampling
  readonly model?: string | undefined
}

export interface AnswerStats {
  readonly steps: number
  readonly drafted: number
  readonly accepted: number
}

/** What an endpoint answers, in order. */
export type AnswerEvent =
  /** It has taken the request. */
  | { readonly type: 'accepted'; readonly promptTokens?: number; readonly cachedTokens?: number }
  | { readonly type: 'fingerprint'; readonly fingerprint: string }
  /** Output that came at once. Without ids only the endpoint knows how many tokens it is. */
  | { readonly type: 'output'; readonly choice: number; readonly text: string; readonly tokenIds?: readonly number[] }
  | { readonly type: 'finished'; readonly choice: number; readonly reason: string; readonly stats?: AnswerStats }
  | {
      readonly type: 'usage'
      readonly promptTokens?: number
      readonly cachedTokens?: number
      readonly completionTokens?: number // of all choices
    }

/** A call whose body is built: what is left is to send it. Failures are thrown as `RequestFailure`. */
export type PreparedCall = (signal: AbortSignal) => AsyncIterable<AnswerEvent>

export interface ReplayClient {
  prepare(call: Call): PreparedCall
  /** What requests were not sent as the trace has them, because the endpoint does not take it. */
  refusals?(): readonly string[]
  close(): void
}
