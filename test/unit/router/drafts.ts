// Proposers for tests of the router that need no drafter.

import { depths, type TokenTree } from '../../../lib/speculative/token-tree.js'
import type { Proposal } from '../../../services/router/choose-trees.js'
import type { Proposer } from '../../../services/router/proposer.js'
import type { Sequence } from '../../../services/router/sequence.js'

/** A tree as a proposal: a node is worth a little less than its parent, if nothing else is said. */
export function proposalOf(sequence: Sequence, tree: TokenTree, values?: readonly number[]): Proposal {
  return {
    sequence,
    tree,
    values: Float32Array.from(values ?? Array.from(depths(tree), (depth) => 0.9 ** depth)),
    sources: Array.from(tree.tokens, (_, node) => (node === 0 ? [] : ['test'])),
  }
}

/** Proposes at once what `draft` says; nothing for a sequence where that is undefined. */
export function draftsOf(draft: (sequence: Sequence, maxNodes: number) => TokenTree | undefined): Proposer {
  return {
    readsHidden: false,
    copies: false,
    copied: () => undefined,
    hasDrafter: true,
    forget: () => undefined,
    propose: (_, sequences, { maxNodes }) => {
      const proposals = sequences.flatMap((sequence) => {
        const tree = draft(sequence, maxNodes)
        return tree === undefined ? [] : [proposalOf(sequence, tree)]
      })
      return Promise.resolve({ proposals, waitedMs: 0 })
    },
  }
}

export const noDrafts: Proposer = { ...draftsOf(() => undefined), hasDrafter: false }
