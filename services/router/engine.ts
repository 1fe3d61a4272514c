// What the doors (gRPC, HTTP) see of the router: one interface, so that a door holds no logic of its own.
//
// Contract
//   R1  `generate` either throws one ClusterError before its first event, or yields `accepted` first, then chunks, then
//       exactly one `finished` per choice, and returns; a failure after `accepted` throws one ClusterError.
//   R2  When the consumer stops iterating or aborts, the request is cancelled down to the expert workers.
//   R3  A request id that is running or recently finished is joined, not run again; with another body it is refused
//       with `already_exists`.

import type { FingerprintParts } from '../../lib/model/fingerprint.js'
import type { RequestRecord as TrafficRecord } from '../../lib/traffic/request-record.js'
import type { ConsoleView, Viewer } from './console/console.js'
import type { WantedSizes } from '../../lib/wire/sizes.js'
import type { VersionRange } from '../../lib/wire/versions.js'
import type { FeedOptions } from './capture/record-feed.js'

/** Sampling fields as a client may send them; every one is optional and checked by the engine (`invalid_argument`). */
export interface SamplingInput {
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly minP?: number | undefined
  readonly repetitionPenalty?: number | undefined
  readonly presencePenalty?: number | undefined
  readonly frequencyPenalty?: number | undefined
  readonly logitBias?: ReadonlyMap<number, number> | undefined
  readonly maxTokens?: number | undefined
  readonly minTokens?: number | undefined
  readonly seed?: bigint | undefined
  readonly stop?: readonly string[] | undefined
  readonly stopTokenIds?: readonly number[] | undefined
  readonly ignoreEos?: boolean | undefined
  readonly includeStop?: boolean | undefined // keep the stop string in the text
}

export interface ChatMessage {
  readonly role: string
  readonly content: string
}

export type PromptInput =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'tokens'; readonly tokens: readonly number[] }
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }

/** Who is admitted first where not all can be. The tokens are the same. */
export type Priority = 'high' | 'normal' | 'low'

export interface GenerateInput {
  readonly requestId?: string | undefined // generated when absent or empty
  readonly model?: string | undefined // the served one when absent or empty
  readonly prompt: PromptInput
  readonly sampling: SamplingInput
  readonly n?: number | undefined // 0 and absent mean 1
  readonly usualTokens?: number | undefined // where `maxTokens` is absent, as far as there is room; absent: all the room
  readonly logprobs?: number | undefined // absent: none; n ≥ 0: of the sampled token and of the n best
  readonly speculation?: boolean | undefined // false: no drafts for this request
  readonly returnTrees?: boolean | undefined // chunks carry the token tree of their step
  readonly tenant?: string | undefined // the API key's name
  readonly door?: string | undefined // how the answer is written when it is resumed over HTTP
  readonly session?: string | undefined // of which it is a turn, for its record
  readonly traceparent?: string | undefined // W3C, of the caller's span
  readonly priority?: Priority | undefined // absent: normal
}

export type FinishReason = 'stop' | 'length' | 'cancelled' | 'error'

export interface Usage {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
}

export interface ChoiceStats {
  readonly ttftMs: number
  readonly tpotMs: number
  readonly tokensPerSecond: number
  readonly steps: number
  readonly drafted: number
  readonly accepted: number
  readonly acceptanceLength: number
  readonly draftSteps: number // for which drafts were asked
  readonly offered: number // nodes that were proposed; those drafted paid
  readonly draftMs: number // waited for drafts
  readonly meanPrice: number // the least value at which a node paid, mean over these steps
}

/** The token tree of one step of a choice: what was drafted, what it was held to be worth, what became of it. */
export interface StepTree {
  readonly nodes: readonly StepNode[] // node 0 is the last token before the step
  readonly accepted: readonly number[] // path from node 0
  readonly proposed: number // nodes that the drafter offered, the root left out; the others did not pay
  readonly price: number // the least value at which a node paid in this step
  readonly plainMs: number // predicted for the step without any drafts; 0: not known yet
  readonly predictedMs: number // with them
  readonly stepMs: number
  readonly draftMs: number // waited for the drafter
}

export interface StepNode {
  readonly token: number
  readonly text: string
  readonly parent: number // -1 for node 0
  readonly value: number // estimated probability that the path to the node is accepted
  readonly sources: readonly string[] // who proposed it
}

/** A token's raw log-probability, with its own text ('' where it is no whole character) and bytes. */
export interface TokenLogprob {
  readonly token: number
  readonly logprob: number
  readonly text: string
  readonly bytes: readonly number[]
}

export type GenerateEvent =
  | {
      readonly kind: 'accepted'
      readonly requestId: string
      readonly model: string
      readonly createdUnixMs: number
      readonly promptTokens: number
      readonly cachedTokens: number
      readonly fingerprint: string
      readonly seed: bigint // the given one, or the one that was drawn
      readonly door?: string | undefined // of its GenerateInput
    }
  | {
      readonly kind: 'chunk'
      readonly choice: number
      readonly offset: number // of the first token in its choice
      readonly tokenIds: readonly number[]
      readonly text: string // may be empty while a character or a stop string is incomplete
      readonly textEnds: readonly number[] // for each token, where its part of the text ends
      readonly logprobs: readonly (TokenLogprob & { readonly top: readonly TokenLogprob[] })[]
      readonly tree?: StepTree | undefined // where they were asked for
    }
  | {
      readonly kind: 'finished'
      readonly choice: number
      readonly reason: FinishReason
      readonly stopReason: string | number | undefined // the stop string or id that ended it
      readonly usage: Usage
      readonly stats: ChoiceStats
    }

/** Both ends count in. */
export interface TokenRange {
  readonly first: number
  readonly last: number
}

export interface ModelInfo {
  readonly id: string
  readonly family: string
  readonly createdUnixMs: number
  readonly maxPositions: number
  readonly vocabSize: number
  readonly numLayers: number
  readonly hidden: number
  readonly numExperts: number
  readonly expertsPerToken: number
  readonly eosTokenIds: readonly number[]
  readonly reservedTokens: readonly TokenRange[] // that no ordinary text holds, ascending
  readonly weightFormat: string
  readonly hasTokenizer: boolean
  readonly hasChatTemplate: boolean
}

export interface ProcessStatus {
  readonly role: string
  readonly id: string
  readonly pid: number
  readonly state: 'starting' | 'ready' | 'suspect' | 'draining' | 'dead'
  readonly deviceClass: string
  readonly shards: readonly number[]
  readonly reserve?: boolean | undefined // it would serve but for its device class
  readonly load: Readonly<Record<string, number>>
  readonly metrics?: string | undefined // URL of its series
  readonly protocol?: VersionRange | undefined // versions of the frame that it speaks
}

export interface ClusterStatus {
  readonly model: string
  readonly fingerprint: string
  readonly epoch: number
  readonly deviceClasses: { readonly attention: string | null; readonly experts: string | null } // that serve
  readonly processes: readonly ProcessStatus[]
  readonly requests: { readonly running: number; readonly waiting: number }
  readonly placement: PlacementStatus
  readonly kvUsage: number // of the attention workers, 0 … 1
  readonly stepCost?: StepCostStatus | undefined // absent before the first attention worker came
}

export interface PlacementStatus {
  readonly shards: number
  readonly replicas: number // asked for, of every shard
  readonly copies: number // that the shard with the fewest has
  readonly imbalance: number | null // what the busiest expert worker had to do lately over the mean; null: not known
  readonly moves: number // changes by which this router rebalanced
  readonly lack?: string // which shards have no worker with room for them, and why
}

/** How well step times are predicted: |error| / actual over the last 512 steps; null before the first. */
export interface StepCostStatus {
  readonly predictions: number
  readonly errorMedian: number | null
  readonly errorP90: number | null
  readonly baselineErrorMedian: number | null // of saying what the last step of this size took
  readonly terms: Readonly<Record<string, number>> // milliseconds each
}

/** How much of a request's stream a reader has already: tokens of each choice. */
export type HeldTokens = readonly number[]

export interface RequestState {
  readonly requestId: string
  readonly state: 'running' | 'finished' | 'failed' | 'cancelled'
  readonly choices: readonly {
    readonly tokenIds: readonly number[]
    readonly text: string
    readonly finishReason?: string
  }[]
}

export interface GenerateOptions {
  readonly signal: AbortSignal
  readonly deadlineMs?: number | undefined
  /** Told of a new request, before it is accepted, how many tokens it may take; may throw to refuse it. */
  readonly charge?: ((numTokens: number) => void) | undefined
}

export interface InferenceEngine {
  /** Looks on, for the console page. Throws `resource_exhausted` where too many do already. */
  openConsole(viewer: Viewer): ConsoleView
  readonly version: string
  readonly model: ModelInfo
  readonly fingerprint: () => string
  readonly fingerprintParts: () => FingerprintParts
  generate(input: GenerateInput, options: GenerateOptions): AsyncIterable<GenerateEvent>
  /** The rest of a request's stream, wherever it ran before. Throws `not_found` where nobody knows it. */
  resume(
    request: { readonly requestId: string; readonly tenant: string; readonly held: HeldTokens },
    options: { readonly signal: AbortSignal; readonly deadlineMs?: number | undefined },
  ): AsyncIterable<GenerateEvent>
  /** Whether the request was still running; undefined where nobody knows it. */
  cancel(requestId: string, tenant: string): Promise<boolean | undefined>
  lookup(requestId: string, tenant: string): Promise<RequestState | undefined>
  /** The records of the tenant's requests that end here from now on. */
  records(options: FeedOptions): AsyncIterable<TrafficRecord>
  status(): ClusterStatus
  /** Asks for other sizes of the cluster; returns those that hold from now on, and does not wait for them. */
  scale(wanted: WantedSizes): Promise<WantedSizes>
  /** What `/ready`, gRPC health and the router's own port say: the cluster can serve, and this router is on the bus. */
  isReady(): boolean
  /** As a prompt is; bare: without the tokens that are put around one. Throws `failed_precondition` without a tokenizer. */
  tokenize(text: string, signal?: AbortSignal, isBare?: boolean): Promise<readonly number[]>
  detokenize(tokens: readonly number[]): string
  /** Prometheus text. */
  metrics(): Promise<string>
}
