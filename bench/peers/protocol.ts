// What the bench and its llama.cpp process say to one another: one JSON value a line, over stdin and stdout.

/** How llama.cpp is set up for a measurement; the faster of several is taken. */
export interface LlamaSetting {
  readonly flashAttention: boolean
  readonly batchSize: number // tokens in one llama_decode, also its micro-batch
  readonly threads: number
}

export interface LoadCommand {
  readonly kind: 'load'
  readonly modelPath: string
  readonly threads: number
}

export interface DecodeCommand {
  readonly kind: 'decode'
  readonly prompts: readonly (readonly number[])[] // one stream each
  readonly numTokens: number // of each stream
  readonly setting: LlamaSetting
}

/** Resident bytes of a process: its own pages, and with the file pages that the kernel can take back. */
export interface ResidentMemory {
  readonly anonymousBytes: number
  readonly totalBytes: number
}

export interface Loaded {
  readonly versions: readonly string[]
  readonly system: string // the processor features that its kernels use
  readonly before: ResidentMemory // library loaded, model not
}

/** Greedy tokens of a request and when they came, in milliseconds from its start. */
export interface Timeline {
  readonly tokens: readonly (readonly number[])[] // [streams, tokens]
  readonly timesMs: readonly (readonly number[])[] // [streams, tokens]
}

export interface Decoded extends Timeline {
  readonly insideMs: number // of the decode steps, the time inside llama_decode
}

/** What each command is answered with. */
export interface Replies {
  readonly load: Loaded
  readonly decode: Decoded
}

export type Command = LoadCommand | DecodeCommand
export type Reply = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: string }
