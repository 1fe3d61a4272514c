// Traffic, whatever file it came from: requests in the order of their arrival. Readers make it (`formats/`), the replayer
// sends it, analysis counts it.
//
// Invariants
//   T1  Arrivals are finite, not negative, ascending, and count from the trace's first request.
//   T2  A prompt of known length has exactly so many tokens in the served tokenizer, however it was synthesised.

import type { RequestRecord } from '../../lib/traffic/request-record.js'

/** A prompt as far as a trace tells it. */
export type TracePrompt =
  | { readonly kind: 'tokens'; readonly tokens: readonly number[] }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'chat'; readonly messages: readonly { readonly role: string; readonly content: string }[] }
  /** Only its length, and which blocks it shares with others: equal names at the same place, equal tokens. */
  | {
      readonly kind: 'blocks'
      readonly numTokens: number
      readonly blockTokens: number
      readonly blocks: readonly string[] // may be empty: nothing is shared
    }

/** Sampling fields that a trace names; absent ones are the endpoint's defaults. */
export interface TraceSampling {
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly minP?: number
  readonly repetitionPenalty?: number
  readonly presencePenalty?: number
  readonly frequencyPenalty?: number
  readonly logitBias?: Readonly<Record<string, number>>
  readonly maxTokens?: number
  readonly minTokens?: number
  readonly stop?: readonly string[]
  readonly stopTokenIds?: readonly number[]
  readonly ignoreEos?: boolean
  readonly includeStop?: boolean
  readonly seed?: bigint
  readonly n?: number
  readonly logprobs?: number // of so many of the best tokens beside the sampled one; no token depends on it
}

/** What the request got when it was recorded. */
export interface RecordedAnswer {
  readonly fingerprint?: string
  readonly fingerprintParts?: Readonly<Record<string, string>> // what it is made of, e.g. 'weights', 'device_class'
  readonly finishReasons: readonly string[] // per choice; '' where it did not end
  readonly numTokens: readonly number[] // per choice
  readonly tokenIds?: readonly (readonly number[])[] // per choice; absent: not recorded
  readonly tokenHashes?: readonly string[] // per choice, `hashTokens`
  readonly texts?: readonly string[]
  readonly isWhole: boolean // false: cancelled or failed, so only a beginning
  readonly traceId?: string
  readonly cachedTokens?: number // of the prompt
  readonly outcome?: 'cancelled' | 'failed' // where it is not whole
  readonly error?: RequestRecord['error'] // why
}

export interface TraceRequest {
  readonly id: string // unique in the trace
  readonly arrivalMs: number
  readonly prompt: TracePrompt
  /** Recorded length of the answer: replays force it unless `recorded` says how the answer ended by itself. */
  readonly outputTokens?: number
  /** Its text where the trace has no length: how many tokens that is, only the served tokenizer knows. */
  readonly outputText?: string
  readonly sampling: TraceSampling
  /** Turns of one conversation, in order; a turn may wait for the one before it and then so long. */
  readonly session?: string
  readonly delayMs?: number
  readonly model?: string
  readonly durationMs?: number // from arrival to the answer's end, when it was recorded
  readonly recorded?: RecordedAnswer
  readonly record?: RequestRecord // it was read from; only where `ReadOptions` asks for it
}

export interface Trace {
  readonly format: string // e.g. 'banyan', 'mooncake'
  readonly files: readonly string[]
  readonly requests: readonly TraceRequest[]
  readonly skipped: readonly SkippedLine[]
  /** What a person should know about the file: lines out of order, failed requests that were left out. */
  readonly notices?: readonly string[]
  /** The file has no times, all arrivals are 0: they have to come from a rate. */
  readonly isUntimed?: boolean
  readonly startUnixMs?: number // of the first arrival, where the file has dates
}

/** A broken line that was left out because the caller asked for it. */
export interface SkippedLine {
  readonly file: string
  readonly line: number
  readonly problem: string
}
