// Merges several weighted continuations into one tree and keeps its most probable nodes.
//
// Invariants
//   C1  The value of a node is its parent's value times `confidence(depth)` times its share of the parent's weight:
//       it never exceeds the parent's, so the best nodes form a tree.

import type { Draft } from './draft-source.js'

export interface Continuation {
  readonly tokens: readonly number[]
  readonly weight: number
}

interface TrieNode {
  readonly token: number
  readonly parent: number
  readonly depth: number
  weight: number
  readonly children: Map<number, number> // token → node
}

export interface TreeShape {
  readonly maxNodes: number // root included
  readonly minValue: number // nodes below are left out
  /** Probability that the continuations hold the next token, after `depth` accepted ones. */
  readonly confidence: (depth: number) => number
}

/** The most valuable nodes of the merged continuations of `root`, parents first. */
export function mergeContinuations(root: number, continuations: readonly Continuation[], shape: TreeShape): Draft {
  const nodes = buildTrie(root, continuations)
  const values = nodeValues(nodes, shape.confidence)
  const chosen = [...nodes.keys()]
    .filter((node) => node === 0 || values[node]! >= shape.minValue)
    .sort((a, b) => values[b]! - values[a]! || a - b) // equal values: a parent was made before its child
    .slice(0, shape.maxNodes)
  const places = new Map(chosen.map((node, place) => [node, place]))
  const pick = (node: number): TrieNode => nodes[node]!
  return {
    tokens: Int32Array.from(chosen, (node) => pick(node).token),
    parents: Int32Array.from(chosen, (node) => places.get(pick(node).parent) ?? -1),
    values: Float32Array.from(chosen, (node) => values[node]!),
  }
}

function buildTrie(root: number, continuations: readonly Continuation[]): TrieNode[] {
  const nodes: TrieNode[] = [{ token: root, parent: -1, depth: 0, weight: 0, children: new Map() }]
  for (const { tokens, weight } of continuations) {
    let at = 0
    nodes[0]!.weight += weight
    for (const token of tokens) {
      at = childOf(nodes, at, token)
      nodes[at]!.weight += weight
    }
  }
  return nodes
}

function childOf(nodes: TrieNode[], parent: number, token: number): number {
  const { children, depth } = nodes[parent]!
  const known = children.get(token)
  if (known !== undefined) return known
  const child = nodes.push({ token, parent, depth: depth + 1, weight: 0, children: new Map() }) - 1
  children.set(token, child)
  return child
}

function nodeValues(nodes: readonly TrieNode[], confidence: (depth: number) => number): Float64Array {
  const values = new Float64Array(nodes.length)
  values[0] = 1
  for (let node = 1; node < nodes.length; node++) {
    const { parent, depth, weight } = nodes[node]!
    values[node] = values[parent]! * confidence(depth - 1) * (weight / nodes[parent]!.weight)
  }
  return values
}
