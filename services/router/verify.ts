// Decides how much of a drafted token tree the target model agrees with.
//
// The samples come from the ordinary sampler, run at every node after the node's own path. Following them through the
// tree is therefore plain decoding, read from a table (sampler replay): lossless for any tree, at any temperature.
// Typical acceptance is the exception, only where it is asked for: it keeps drafts that nobody sampled.
//
// Invariants
//   V1  At least one token comes out; the last one is the bonus token, whose key and value are not computed yet.
//   V2  As many tokens come out as nodes are accepted: node 0 is accepted always, for its row is new in the cache too.
//   V3  Nothing comes out after an end token.
//   V4  Pure: no clock, no I/O, no hidden randomness.

import { ClusterError } from '../../lib/errors.js'
import { ancestors, childOf, NOT_SAMPLED, type TokenTree } from '../../lib/speculative/token-tree.js'

export interface Verification {
  readonly acceptedNodes: number[] // ascending path from node 0: the rows to commit
  readonly tokens: number[] // as many, emitted in this order
}

/** Whether generation ends with `token`, the `numEmitted`-th (from 1) that this step emits. */
export type IsEnd = (token: number, numEmitted: number) => boolean

/** Walks from the root to the child that equals the token sampled at its parent, until there is none. */
export function verify(tree: TokenTree, samples: ArrayLike<number>, isEnd: IsEnd): Verification {
  checkNumNodes(tree, 'samples', samples)
  const acceptedNodes: number[] = []
  const tokens: number[] = []
  for (let node = 0; node !== -1;) {
    const token = samples[node]!
    if (token === NOT_SAMPLED) throw new ClusterError('internal', `verify: want a sample for node ${node}, found none`)
    acceptedNodes.push(node)
    tokens.push(token)
    node = isEnd(token, tokens.length) ? -1 : childOf(tree, node, token)
  }
  return { acceptedNodes, tokens }
}

/**
 * LOSSY at temperature > 0. Follows the longest path of nodes that `takes` ([nodes], 0 or 1, node 0 ignored) allows
 * after their parents, the earlier node where two are as deep; then adds the sample at its end. A path ends with its
 * first end token.
 */
export function verifyTypical(
  tree: TokenTree,
  samples: ArrayLike<number>,
  takes: ArrayLike<number>,
  isEnd: IsEnd,
): Verification {
  checkNumNodes(tree, 'samples', samples)
  checkNumNodes(tree, 'takes', takes)
  const lengths = new Int32Array(tree.tokens.length) // tokens from below the root to a node
  const isOpen = new Uint8Array(tree.tokens.length) // whether the node's children may follow it
  isOpen[0] = 1
  let last = 0
  for (let node = 1; node < tree.tokens.length; node++) {
    const parent = tree.parents[node]!
    if (isOpen[parent] === 0 || takes[node] === 0) continue
    lengths[node] = lengths[parent]! + 1
    if (!isEnd(tree.tokens[node]!, lengths[node]!)) isOpen[node] = 1
    if (lengths[node]! > lengths[last]!) last = node
  }
  const path = ancestors(tree, last)
  const drafted = path.slice(1).map((node) => tree.tokens[node]!)
  if (isOpen[last] === 0) return { acceptedNodes: path.slice(0, -1), tokens: drafted }
  return { acceptedNodes: path, tokens: [...drafted, samples[last]!] }
}

function checkNumNodes(tree: TokenTree, name: string, values: ArrayLike<number>): void {
  const numNodes = tree.tokens.length
  if (numNodes > 0 && values.length === numNodes) return
  const what = `verify: want ${name} for each of ${numNodes} nodes (1 or more), got ${values.length}`
  throw new ClusterError('internal', what)
}
