// The router's view of one sequence (one choice of a request): its tokens, and how far an attention worker's KV is.
//
// Invariants
//   Q1  `tokens` = prompt + output; the KV of the first `base` of them exists on `worker` once `accepted` is committed.
//   Q2  `restart` loses no token: the sequence is prefilled again from its tokens, and I1 makes the rest the same.

import type { Attributes } from '@opentelemetry/api'
import type { Priority, StepNode, StepTree } from './engine.js'
import type { HiddenBacklog } from './hidden-backlog.js'
import type { Prefix } from './prefix-cache.js'
import type { RoutedExperts } from './routed-experts.js'
import type { TypicalThresholds } from '../../lib/sampling/typical.js'
import type { SamplingParams } from '../../lib/sampling/params.js'
import type { TokenTree } from '../../lib/speculative/token-tree.js'

export interface SequenceLimits {
  readonly maxTokens: number // output tokens
  readonly endTokenIds: ReadonlySet<number>
}

export interface Sequence {
  readonly id: string
  readonly choice: number
  readonly promptLength: number
  readonly sampling: SamplingParams
  readonly limits: SequenceLimits
  readonly drafts: boolean
  readonly tenant: string // whose request it is; '': nobody knows
  readonly returnsTrees: boolean // `push` wants the tree of every step
  readonly traceparent: string | undefined // of its request's span
  readonly startedMs: number // monotonic
  readonly watch?: SequenceWatch | undefined
  readonly routes?: RoutedExperts | undefined // where they go with its request's record
  readonly emitter: SequenceEmitter
  priority: Priority // rises with long waiting
  waitsSinceMs?: number | undefined // while it waits for room
  tokens: number[]
  base: number
  epoch: number // of the next step
  accepted: readonly number[] // nodes of the last step, to be committed by the next
  prefix: Prefix | undefined // whose KV it takes over with its first step
  cachedTokens: number // of the prompt, taken over at the last start
  restarts: number // after refused entries, since the last token
  draftedUpTo: number // tokens the drafter holds
  hidden: HiddenBacklog | undefined // last hidden states that no drafter has yet
  stats: SequenceStats
}

/** Who is told what becomes of a sequence. */
export interface SequenceWatch {
  /** Rows of it go into a step. */
  scheduled(): void
  /** Something happened to it that its request's span should tell. */
  note(event: string, attributes?: Attributes): void
}

export interface SequenceStats {
  steps: number
  drafted: number
  accepted: number
  draftSteps: number // for which a drafter was asked
  offered: number // nodes that it proposed
  draftMs: number // waited for it
  priceSum: number // over these steps
  admittedMs: number | undefined // when it first left the queue
}

export const noStats = (): SequenceStats => ({
  steps: 0,
  drafted: 0,
  accepted: 0,
  draftSteps: 0,
  offered: 0,
  draftMs: 0,
  priceSum: 0,
  admittedMs: undefined,
})

/** A step's tree as the step loop knows it: without texts. */
export interface BareStepTree extends Omit<StepTree, 'nodes'> {
  readonly nodes: readonly Omit<StepNode, 'text'>[]
}

/** Where a sequence's tokens go. `push` returns why the sequence ended, if it did. */
export interface SequenceEmitter {
  push(tokens: readonly number[], logprobs: readonly unknown[], tree?: BareStepTree): Ending | undefined
  /** Tokens of an earlier run of the request: as `push`, but they are no news. */
  replay(tokens: readonly number[]): Ending | undefined
  finish(ending: Ending, stats: SequenceStats, cachedTokens: number): void
  fail(error: unknown): void
  /** Ends it without a word: the sequence runs elsewhere. */
  detach(): void
  readonly isClosed: boolean
  readonly isPaused: boolean // its reader is too far behind: no more tokens for now
}

export interface Ending {
  readonly reason: 'stop' | 'length' | 'cancelled' | 'error'
  readonly stopReason?: string | number | undefined
}

export const numOutput = (sequence: Sequence): number => sequence.tokens.length - sequence.promptLength

/** Whether the next step decodes (only the last token's KV is missing) or prefills. */
export const isDecoding = (sequence: Sequence): boolean => sequence.base === sequence.tokens.length - 1

/** Forgets the KV: the next step starts from token 0 (after preemption, a lost worker or an epoch gap). */
export function restart(sequence: Sequence): void {
  sequence.base = 0
  sequence.epoch = 0
  sequence.accepted = []
  sequence.prefix = undefined
  sequence.cachedTokens = 0
  sequence.hidden = undefined
}

/** The first step takes over the KV of a prefix instead of computing it. */
export function startFrom(sequence: Sequence, prefix: Prefix): void {
  sequence.base = prefix.length
  sequence.prefix = prefix
  sequence.cachedTokens = Math.min(prefix.length, sequence.promptLength)
}

/** The rows of a sequence in a step. */
export interface Rows {
  readonly sequence: Sequence
  readonly tree: TokenTree
  readonly numHidden?: number // last rows whose last hidden states are wanted
  readonly typical?: TypicalThresholds // nodes are judged by the lossy rule too
  readonly sampled: readonly number[] // every node while decoding, the last one at the end of a prefill, none before
}

/** The next prefill chunk: at most `budget` rows, as a chain. */
export function prefillRows(sequence: Sequence, budget: number): Rows {
  const tokens = sequence.tokens.slice(sequence.base, sequence.base + budget)
  const isLast = sequence.base + tokens.length === sequence.tokens.length
  const parents = tokens.map((_, i) => i - 1)
  return { sequence, tree: { tokens, parents }, sampled: isLast ? [tokens.length - 1] : [] }
}

export function decodeRows(sequence: Sequence, tree: TokenTree): Rows {
  const sampled: number[] = []
  for (let node = 0; node < tree.tokens.length; node++) sampled.push(node)
  return { sequence, tree, sampled }
}

/** A tree of one node: the last token. */
export const rootOnly = (sequence: Sequence): TokenTree => ({ tokens: sequence.tokens.slice(-1), parents: [-1] })
