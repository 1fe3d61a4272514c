// What a source that computes is: it takes in what was committed, then runs tree nodes, several sequences at once.
//
// Contract
//   M1  `follow` comes before `expand`; nodes run since are forgotten by the next `follow` of their sequence.
//   M2  A node is expanded after its parent; node 0 is the root, which `follow` expanded.
//   M3  Logits are valid until the next call.

import type { DraftSequence } from './draft-source.js'

/** Last hidden states [rows, hidden] of the target, after its final norm, for the tokens from index `from`. */
export interface HiddenRows {
  readonly from: number
  readonly rows: Float32Array
}

export interface Following {
  readonly sequence: DraftSequence
  /** What came since the last call; empty where the target sent nothing. */
  readonly hidden: readonly HiddenRows[]
}

export interface NodeRow {
  readonly sequence: DraftSequence
  readonly node: number
  readonly parent: number
  readonly token: number
  readonly depth: number // from 1
}

export interface DraftModel {
  readonly name: string
  readonly hidden: number // width of the hidden states that it reads; 0: none
  /** Rows that `follow` would have to compute for these. */
  backlog(following: Following): number
  /** Takes in committed tokens, of many only some; logits [vocab] after each root that was reached. */
  follow(following: readonly Following[]): readonly (Float32Array | undefined)[]
  /** Logits [vocab] after each node. */
  expand(rows: readonly NodeRow[]): readonly Float32Array[]
  forget(sequence: string): void
  dispose(): void
}

/** Rows by their sequence, in the order of their first. */
export function groupRows(rows: readonly NodeRow[]): Map<string, NodeRow[]> {
  const groups = new Map<string, NodeRow[]>()
  for (const row of rows) {
    const group = groups.get(row.sequence.id)
    if (group === undefined) groups.set(row.sequence.id, [row])
    else group.push(row)
  }
  return groups
}
