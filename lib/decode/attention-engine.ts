// What an attention worker computes with: the CPU's kernels, or a device. A step's rows are laid out once, then run
// layer after layer. What experts read and where their sums go lies in this process's memory whatever computes, so
// dispatch and combine are the same for all.
//
// Invariants
//   E1  A row's bits are a function of the tokens on its path: not of the rows beside it, not of the slots it does not see.
//   E2  An engine is done when a call returns: nothing else runs in this process between a call and the reading of what
//       it gave, which the next run may overwrite.

import type { RowView } from '../compute/attention-batch.js'
import type { ModelSpec } from '../model/spec.js'
import type { ShardPlan } from '../model/expert-shards.js'
import type { ExpertOperands } from './experts-in-place.js'
import type { Routes } from './gate.js'

/**
 * Keys and values of one sequence: slots below `length` hold the committed tokens in position order, those from there on
 * the rows of the last step.
 */
export interface SequenceCache {
  readonly length: number
  /** Committed tokens held, those that several sequences share in equal parts. */
  readonly heldTokens: number
  /** Makes room for `slots` slots. Throws `resource_exhausted` where there is no memory for them. */
  reserve(slots: number): void
  /** Makes these slots this sequence's own, so that rows can be written there. */
  own(slots: ArrayLike<number>): void
  /** A further sequence that begins with the first `slots` slots of this one: shared until one of the two writes there. */
  fork(slots: number): SequenceCache
  /** Moves the accepted slots (ascending) to the end of the committed ones. */
  commit(acceptedSlots: ArrayLike<number>): void
  /** Gives the memory back; the sequence is not used again. */
  release(): void
}

/** Rows of one sequence that attend together. */
export interface StepSpan {
  readonly cache: SequenceCache
  readonly views: readonly RowView[] // one per row, itself included
  readonly slots: ArrayLike<number> // where each row's key and value go
}

/** A step's rows, span after span; tokens and positions are of all rows in order. */
export interface StepRows {
  readonly spans: readonly StepSpan[]
  readonly tokens: readonly number[]
  readonly positions: readonly number[]
}

/** What a layer's experts are to compute. They add their sums into `operands.delta` before the next layer runs. */
export interface LayerOutput {
  readonly operands: ExpertOperands
  readonly routes: Routes
}

/** Rows of a running step; what it gives is read before the engine lays out another step. */
export interface StepBatch {
  readonly rows: number
  /** Attention and gate of a layer; layers run in order, each once. */
  runLayer(index: number): LayerOutput
  /** The last hidden state of the rows before the final norm: [rows, hidden]. */
  lastHidden(): Float32Array
}

export interface EngineHead {
  /** Logits of rows of x [numRows, hidden]: one array [vocab] per row, to be read before the engine's next run. */
  run(x: Float32Array, rows: readonly number[]): readonly Float32Array[]
  /** Rows of x [rows, hidden] after the final norm: what draft heads read. */
  norm(x: Float32Array): Float32Array
}

export interface AttentionEngine {
  readonly spec: ModelSpec
  readonly plan: ShardPlan
  readonly head: EngineHead
  openCache(): SequenceCache
  /**
   * A step's rows as at most so many batches that take turns: of each layer the first runs before the second, which may
   * see its keys and values. One step at a time.
   */
  layOut(rows: StepRows, microBatches: number): readonly StepBatch[]
  dispose(): void
}
