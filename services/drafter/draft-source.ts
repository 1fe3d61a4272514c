// What a draft source is. A source changes speed and never text, so it may guess, forget and be wrong.
//
// Contract
//   D1  `propose` returns 1 to `maxNodes` nodes; node 0 is the last committed token, a parent comes before its
//       children, children of one node have distinct tokens.
//   D2  A value never exceeds its parent's; the root's is 1.
//   D3  What a source remembers of a sequence is freed by `forget`.

export interface Draft {
  readonly tokens: Int32Array // [nodes]
  readonly parents: Int32Array // [nodes], -1 for node 0
  readonly values: Float32Array // [nodes], estimated probability that the path to the node is accepted
}

export interface DraftSource {
  readonly name: string
  /** `committed` are all tokens of the sequence so far, those from index `from` on are new; valid during the call. */
  observe(sequence: string, committed: Int32Array, from: number): void
  propose(sequence: string, committed: Int32Array, maxNodes: number): Draft
  forget(sequence: string): void
}

/** A tree of one node: nothing to propose. */
export function emptyDraft(root: number): Draft {
  return { tokens: Int32Array.of(root), parents: Int32Array.of(-1), values: Float32Array.of(1) }
}

/** The tokens that a draft hopes to add. */
export function promiseOf({ values }: Draft): number {
  return values.reduce((sum, value) => sum + value, -1)
}
