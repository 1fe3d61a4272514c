// What the console's feed says, a few times a second: one JSON line per frame. Types only, for the router that writes them
// and the page that reads them.
//
// Invariants
//   C1  A frame is composed when it can be sent, from how things are then: who reads slowly misses frames, never facts.
//   C2  Every list has a bound; what is left out is counted.

export interface ConsoleFrame {
  readonly timeMs: number // Unix
  readonly hello?: ConsoleHello // in the first frame of a feed
  readonly cluster: ConsoleCluster
  readonly requests: RequestChanges
  readonly points: readonly SeriesPoint[] // what the feed has not said yet, oldest first
  readonly step?: ConsoleStep // a newer one than the feed has said
  readonly experts?: ExpertRows // since the last frame that had them
  readonly watched?: WatchedRequest // where the feed was opened for one
}

export interface ConsoleHello {
  readonly version: string
  readonly router: string
  readonly model: string
  readonly family: string
  readonly weights: string
  readonly fingerprint: string
  readonly numLayers: number
  readonly numExperts: number // routed ones, of the layer with the most; one further column is the always-active expert
  readonly isKeyed: boolean // only requests of the caller's own key are shown
}

export interface ConsoleProcess {
  readonly role: string
  readonly id: string
  readonly pid: number
  readonly state: 'starting' | 'ready' | 'suspect' | 'draining' | 'dead'
  readonly deviceClass: string
  readonly shards: readonly number[]
  readonly load: Readonly<Record<string, number>>
}

export interface ConsoleCluster {
  readonly epoch: number
  readonly isReady: boolean
  readonly processes: readonly ConsoleProcess[]
  readonly running: number
  readonly waiting: number
  readonly kvUsage: number // 0 … 1
  readonly placement: { readonly shards: number; readonly replicas: number; readonly copies: number }
}

export type RequestPhase =
  | 'waiting'
  | 'prefill'
  | 'decode'
  | 'paused' // its reader is too far behind
  | 'elsewhere' // another router runs it
  | 'finished'
  | 'failed'
  | 'cancelled'

export interface RequestRow {
  readonly id: string
  readonly phase: RequestPhase
  readonly priority: string
  readonly choices: number
  readonly startedMs: number // Unix
  readonly promptTokens: number
  readonly prefilled: number // of them
  readonly outputTokens: number // of all choices
  readonly ttftMs: number | null // null: not yet, or before anybody looked
  readonly tokensPerSecond: number // of all choices, since it began
  readonly tail: string // the end of the first choice's text
}

export interface RequestChanges {
  readonly rows: readonly RequestRow[] // new or changed
  readonly gone: readonly string[] // ids
  readonly hidden: number // of the caller's own that are left out of a long list
  readonly others: { readonly running: number; readonly ended: number } // of other keys
}

/** What happened in about a second. Times in milliseconds; null: nothing to tell. */
export interface SeriesPoint {
  readonly timeMs: number // Unix
  readonly tokensPerSecond: number
  readonly ttftP50: number | null
  readonly ttftP95: number | null
  readonly itlP50: number | null
  readonly itlP95: number | null
  readonly running: number
  readonly waiting: number
  readonly kvUsage: number
  readonly steps: number
  readonly flow: StepFlow | null // mean of these steps
}

/** Where a step's time went; the parts add up to its duration. */
export interface StepFlow {
  readonly durationMs: number
  readonly draftMs: number // waited for drafts
  readonly routerMs: number // the router's own work
  readonly hopMs: number // to the attention worker and back
  readonly attentionMs: number
  readonly expertHopMs: number // waited for experts while none of a layer computed
  readonly expertMs: number // the slowest worker's compute in each layer
  readonly headMs: number // LM head and sampling
  readonly restMs: number // on the attention worker, beside these
  readonly sequences: number
  readonly rows: number
  readonly emitted: number
  readonly drafted: number
  readonly accepted: number
}

/** One step, with the times of its layers. */
export interface ConsoleStep {
  readonly number: number
  readonly timeMs: number // Unix, of its end
  readonly worker: string
  readonly flow: StepFlow
  /** Per layer: start since the step's, attention, wait for experts, and of that the slowest worker's compute. */
  readonly layers: readonly (readonly [startMs: number, attentionMs: number, waitMs: number, computeMs: number])[]
}

export interface ExpertRows {
  readonly columns: number // experts per layer
  readonly rows: readonly number[] // [layers, columns]
}

/** How a token came: '' is not known (nobody looked then), else `plain`, `bonus`, or the sources of the draft, `a+b`. */
export type TokenOrigin = string

export interface WatchedRequest {
  readonly id: string
  readonly isKnown: boolean
  readonly isFresh: boolean // what was told of it before is void
  readonly choices: readonly {
    readonly choice: number
    readonly offset: number // of the first of these tokens
    readonly texts: readonly string[]
    readonly origins: readonly TokenOrigin[]
    readonly steps: readonly number[] // 0: not known
  }[]
  readonly trees: readonly ConsoleTree[]
}

export interface ConsoleTree {
  readonly choice: number
  readonly step: number
  readonly offset: number // of the first token that came of it
  readonly nodes: readonly {
    readonly text: string
    readonly parent: number // -1 for node 0, the last token before the step
    readonly value: number
    readonly sources: readonly string[]
  }[]
  readonly accepted: readonly number[] // path from node 0
  readonly bonus: string
  readonly proposed: number
  readonly price: number
  readonly plainMs: number
  readonly predictedMs: number
  readonly stepMs: number
  readonly draftMs: number
}
