// Decides how much of a drafted token tree the target model agrees with.
//
// The samples come from the ordinary sampler, run at every node after the node's own path. Following them through the
// tree is therefore plain decoding, read from a table (sampler replay): lossless for any tree, at any temperature.
//
// Invariants
//   V1  At least one token comes out; the last one is the bonus token, whose key and value are not computed yet.
//   V2  As many tokens come out as nodes are accepted: node 0 is accepted always, for its row is new in the cache too.
//   V3  Nothing comes out after an end token.
//   V4  Pure: no clock, no I/O, no hidden randomness.

import { ClusterError } from '../../lib/errors.js'
import type { TokenTree } from '../../lib/speculative/token-tree.js'

export interface Verification {
  readonly acceptedNodes: number[] // ascending path from node 0: the rows to commit
  readonly tokens: number[] // as many, emitted in this order
}

/** Whether generation ends with `token`, the `numEmitted`-th (from 1) that this step emits. */
export type IsEnd = (token: number, numEmitted: number) => boolean

/** Walks from the root to the child that equals the token sampled at its parent, until there is none. */
export function verify(tree: TokenTree, samples: ArrayLike<number>, isEnd: IsEnd): Verification {
  const numNodes = tree.tokens.length
  if (numNodes === 0 || samples.length !== numNodes) {
    throw new ClusterError(
      'internal',
      `verify: want a sample for each of ${numNodes} nodes (1 or more), got ${samples.length}`,
    )
  }
  const acceptedNodes: number[] = []
  const tokens: number[] = []
  for (let node = 0; node !== -1;) {
    const token = samples[node]!
    acceptedNodes.push(node)
    tokens.push(token)
    node = isEnd(token, tokens.length) ? -1 : childOf(tree, node, token)
  }
  return { acceptedNodes, tokens }
}

/** The child of `node` that carries `token`, or -1. Children come after their parent. */
function childOf({ tokens, parents }: TokenTree, node: number, token: number): number {
  for (let child = node + 1; child < tokens.length; child++) {
    if (parents[child] === node && tokens[child] === token) return child
  }
  return -1
}
