// What the drafter holds of one sequence between proposals.

import type { CandidateTree } from './candidate-tree.js'
import type { HiddenRows } from './draft-model.js'
import type { DraftSequence } from './draft-source.js'

export interface SequenceDraft {
  readonly sequence: DraftSequence
  /** The last tree; while a step is computed it is drafted on. */
  tree: CandidateTree
  /** For each model its view of that tree. */
  readonly views: readonly ModelView[]
  /** Hidden state of the token before the root, where it came. */
  lastHidden: Float32Array | undefined
}

export interface ModelView {
  hidden: HiddenRows[] // not taken in yet
  readonly expanded: Set<number> // nodes whose children the model has proposed
  isBehind: boolean // the model has not taken in what was committed
}

/** A change of the tree: what models knew of its nodes holds no more. */
export function renewViews({ views }: SequenceDraft): void {
  for (const view of views) {
    view.expanded.clear()
    view.isBehind = true
  }
}
