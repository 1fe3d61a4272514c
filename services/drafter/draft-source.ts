// What draft sources are. A source changes speed and never text, so it may guess, forget and be wrong.
//
// Contract
//   D1  A source adds nodes to the tree it is given and says how probable each is after its parent (0 … 1). It need not
//       be calibrated: the drafter learns what its numbers are worth.
//   D2  What a source remembers of a sequence is freed by `forget`; what it remembers beyond is bounded.
//   D3  Nothing of one scope is ever proposed to another; a sequence without a scope learns from itself alone.

import type { Ranker } from './ranker.js'
import type { CandidateTree } from './candidate-tree.js'

/** A sequence during a call. */
export interface DraftSequence {
  readonly id: string
  readonly scope: string // '': of nobody else
  readonly promptLength: number
  readonly committed: Int32Array // all tokens so far; the last is the root of the next tree
  readonly ranker: Ranker // what the target's sampler will make of a distribution
}

/** A tree to which nodes are to be added. */
export interface DraftTarget {
  readonly sequence: DraftSequence
  readonly tree: CandidateTree
  readonly source: number // its bit
  readonly least: number // value below which no node is of use
}

/** Proposes by what it has read: no computation worth counting. */
export interface TextSource {
  readonly name: string
  /** Takes in the committed tokens from index `from` on. */
  observe(sequence: DraftSequence, from: number): void
  propose(target: DraftTarget): void
  /** The sequence ended, or its state must go. */
  forget(sequence: DraftSequence): void
}
