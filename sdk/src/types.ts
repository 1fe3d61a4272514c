// What a client sends and gets, in plain types.

export interface SamplingOptions {
  readonly temperature?: number // 0 is greedy
  readonly topP?: number
  readonly topK?: number // 0 is off
  readonly minP?: number
  readonly repetitionPenalty?: number
  readonly presencePenalty?: number
  readonly frequencyPenalty?: number
  readonly maxTokens?: number // the rest of the context when absent
  readonly minTokens?: number
  readonly seed?: bigint // uint64; drawn and returned in `accepted` when absent
  readonly stop?: readonly string[]
  readonly stopTokenIds?: readonly number[]
  readonly ignoreEos?: boolean
  readonly logitBias?: Readonly<Record<number, number>>
  readonly includeStop?: boolean
}

export interface ChatMessage {
  readonly role: string
  readonly content: string
}

/** Exactly one of `text`, `tokens` and `chat`. Absent sampling fields take the model's own defaults. */
export interface GenerateRequest {
  readonly text?: string
  readonly tokens?: readonly number[]
  readonly chat?: readonly ChatMessage[]
  readonly requestId?: string // makes the call idempotent
  readonly model?: string
  readonly sampling?: SamplingOptions
  readonly n?: number
  readonly logprobs?: number // of the sampled token and of this many best ones
  readonly speculation?: boolean // false: no drafts; the text is the same either way
  readonly returnTrees?: boolean // chunks carry the token tree of their step
  readonly priority?: 'high' | 'normal' | 'low' // who is admitted first where not all can be; normal when absent
}

export interface CallOptions {
  readonly signal?: AbortSignal
  readonly deadlineMs?: number // for the whole call, from now
}

export type FinishReason = 'stop' | 'length' | 'cancelled' | 'error'

export interface Usage {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
}

export interface Stats {
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

export interface Logprob {
  readonly token: number
  readonly logprob: number
  readonly text: string
  readonly top: readonly { readonly token: number; readonly logprob: number }[]
}

/** What was drafted for one step of a choice, what it was held to be worth, what became of it. */
export interface StepTree {
  readonly nodes: readonly StepNode[] // parents first; node 0 is the last token before the step
  readonly accepted: readonly number[] // path from node 0
  readonly proposed: number // nodes that the drafter offered, node 0 left out; those not in the tree did not pay
  readonly price: number // the least value at which a node paid
  readonly plainMs: number // predicted for the step without drafts; 0: not known yet
  readonly predictedMs: number // with them
  readonly stepMs: number
  readonly draftMs: number // waited for the drafter
}

export interface StepNode {
  readonly token: number
  readonly text: string // empty where it is no whole character
  readonly parent: number // -1 for node 0
  readonly value: number // estimated probability that the path to the node is accepted
  readonly sources: readonly string[] // who proposed it
}

export interface AcceptedEvent {
  readonly type: 'accepted'
  readonly requestId: string
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly fingerprint: string
  readonly seed: bigint
  readonly model: string
}

export interface ChunkEvent {
  readonly type: 'chunk'
  readonly requestId: string
  readonly choice: number
  readonly offset: number // of the first token in its choice
  readonly tokenIds: readonly number[]
  readonly text: string // may be empty while a character is incomplete
  readonly logprobs: readonly Logprob[]
  readonly tree?: StepTree // where trees were asked for
}

export interface FinishedEvent {
  readonly type: 'finished'
  readonly requestId: string
  readonly choice: number
  readonly finishReason: FinishReason
  readonly stop: string | number | undefined // the stop string or id that ended it
  readonly usage: Usage
  readonly stats: Stats
}

export type GenerateEvent = AcceptedEvent | ChunkEvent | FinishedEvent

export interface Choice {
  readonly text: string
  readonly tokenIds: readonly number[]
  readonly finishReason: FinishReason
  readonly logprobs: readonly Logprob[]
  readonly trees: readonly StepTree[] // one per step, where they were asked for
  readonly usage: Usage
  readonly stats: Stats
}

/** A whole answer: the first choice's fields, and all choices. */
export interface Completion extends Choice {
  readonly requestId: string
  readonly fingerprint: string
  readonly seed: bigint
  readonly choices: readonly Choice[]
}

export interface ModelInfo {
  readonly id: string
  readonly family: string
  readonly maxPositions: number
  readonly vocabSize: number
  readonly numLayers: number
  readonly hiddenSize: number
  readonly numExperts: number
  readonly expertsPerToken: number
  readonly eosTokenIds: readonly number[]
  readonly weightFormat: string
  readonly hasTokenizer: boolean
  readonly hasChatTemplate: boolean
  /** Ids that no ordinary text holds (special and added tokens, padding), ascending; empty from servers that do not tell. */
  readonly reservedTokens: readonly { readonly first: number; readonly last: number }[]
}

export interface ServerInfo {
  readonly version: string
  readonly fingerprint: string
  readonly epoch: number
  readonly ready: boolean
  readonly processes: readonly {
    readonly role: string
    readonly id: string
    readonly pid: number
    readonly state: string
    readonly deviceClass: string
  }[]
  readonly running: number
  readonly waiting: number
  readonly fingerprintParts: Readonly<Record<string, string>> // empty from servers that do not tell
}
