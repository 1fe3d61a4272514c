// A drafted token tree: what a drafter proposes and the target model checks in one step.
//
// Invariants
//   T1  Node 0 is the last committed token, the only node without a parent.
//   T2  Topological order: a parent comes before its children. Everything below rests on it.
//   T3  Children of one node have distinct tokens, so a sampled token leads to one child at most.

import { ClusterError } from '../errors.js'

export interface TokenTree {
  readonly tokens: ArrayLike<number> // [nodes], node 0 is the last committed token
  readonly parents: ArrayLike<number> // [nodes], -1 for node 0
}

export interface TreeLimits {
  readonly maxNodes: number // root included
  readonly vocabSize: number
  readonly root: number // the token that node 0 must be
}

/** A tree that was cut, and which nodes of the original it kept (ascending). */
export interface PrunedTree {
  readonly tokens: Int32Array
  readonly parents: Int32Array
  readonly kept: Int32Array
}

/** Throws `invalid_argument` where the tree breaks T1 to T3 or the limits: a tree from the network is not trusted. */
export function checkTree({ tokens, parents }: TokenTree, { maxNodes, vocabSize, root }: TreeLimits): void {
  const numNodes = tokens.length
  if (numNodes < 1 || numNodes > maxNodes) throw badTree(`want 1 to ${maxNodes} nodes, got ${numNodes}`)
  if (parents.length !== numNodes) throw badTree(`want ${numNodes} parents, got ${parents.length}`)
  if (tokens[0] !== root) throw badTree(`want root ${root}, got ${tokens[0]!}`)
  if (parents[0] !== -1) throw badTree(`want parent -1 at node 0, got ${parents[0]!}`)
  const edges = new Set<number>()
  for (let node = 0; node < numNodes; node++) {
    const token = tokens[node]!
    const parent = parents[node]!
    if (!isIndex(token, vocabSize)) throw badTree(`node ${node}: want a token below ${vocabSize}, got ${token}`)
    if (node === 0) continue
    if (!isIndex(parent, node)) throw badTree(`node ${node}: want a parent before it, got ${parent}`)
    const edge = parent * vocabSize + token
    if (edges.has(edge)) throw badTree(`node ${node}: token ${token} is a child of node ${parent} already`)
    edges.add(edge)
  }
}

const isIndex = (value: number, size: number): boolean => Number.isInteger(value) && value >= 0 && value < size
const badTree = (what: string): ClusterError => new ClusterError('invalid_argument', `token tree: ${what}`)

/** A tree without branches; `tokens` starts with the last committed token. */
export function chain(tokens: ArrayLike<number>): TokenTree {
  return { tokens, parents: Int32Array.from(tokens, (_, node) => node - 1) }
}

/** Edges between the root and each node: [nodes], 0 for the root. */
export function depths({ parents }: TokenTree): Int32Array {
  const result = new Int32Array(parents.length)
  for (let node = 1; node < parents.length; node++) result[node] = result[parents[node]!]! + 1
  return result
}

/** The path from the root to a node, both included: ascending node indices. */
export function ancestors({ parents }: TokenTree, node: number): number[] {
  const path: number[] = []
  for (let at = node; at >= 0; at = parents[at]!) path.push(at)
  return path.reverse()
}

/** Drops the nodes that `keep` refuses, and their descendants. `keep` is asked in order, never below a dropped node. */
export function pruneTree({ tokens, parents }: TokenTree, keep: (node: number) => boolean): PrunedTree {
  const places = new Int32Array(tokens.length).fill(-1) // of the kept nodes in the result
  const kept: number[] = []
  for (let node = 0; node < tokens.length; node++) {
    const isUnderKept = node === 0 || places[parents[node]!]! >= 0
    if (isUnderKept && keep(node)) places[node] = kept.push(node) - 1
  }
  return {
    tokens: Int32Array.from(kept, (node) => tokens[node]!),
    parents: Int32Array.from(kept, (node) => (node === 0 ? -1 : places[parents[node]!]!)),
    kept: Int32Array.from(kept),
  }
}

/**
 * Drops the nodes (and their descendants) that lie at position `maxPositions` or beyond, where the root's is `base`.
 * Throws `invalid_argument` where not even the root has a place.
 */
export function fitTree(tree: TokenTree, base: number, maxPositions: number): PrunedTree {
  if (base >= maxPositions) {
    throw new ClusterError('invalid_argument', `position ${base}: the context ends at ${maxPositions}`)
  }
  const nodeDepths = depths(tree)
  return pruneTree(tree, (node) => base + nodeDepths[node]! < maxPositions)
}

/** In place of the sample of a node that no walk from the root can reach. */
export const NOT_SAMPLED = -1

/** The child of `node` that carries `token`, or -1. Children come after their parent. */
export function childOf({ tokens, parents }: TokenTree, node: number, token: number): number {
  for (let child = node + 1; child < tokens.length; child++) {
    if (parents[child] === node && tokens[child] === token) return child
  }
  return -1
}
