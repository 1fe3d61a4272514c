// Drafts with one source, its estimates taken as they are.

import assert from 'node:assert/strict'
import { CandidateTree, type Calibrator } from '../../../services/drafter/candidate-tree.js'
import type { DraftSequence, TextSource } from '../../../services/drafter/draft-source.js'
import type { Ranker } from '../../../services/drafter/ranker.js'

export const AS_IS: Calibrator = {
  ofSource: (_source, _depth, probability) => probability,
  ofSources: (_sources, probability) => probability,
}

/** A greedy sampler's ranker for weights. */
export const BY_WEIGHT: Ranker = {
  isGreedy: true,
  rankWeights: (tokens, weights, _position, k) => {
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    return tokens
      .map((token, i) => ({ token, probability: weights[i]! / total }))
      .sort((a, b) => b.probability - a.probability || a.token - b.token)
      .slice(0, k)
  },
  rankLogits: () => assert.fail('text has no logits'),
}

export function sequenceOf(tokens: ArrayLike<number>, traits: Partial<DraftSequence> = {}): DraftSequence {
  const committed = Int32Array.from(tokens)
  return { id: 's', scope: '', promptLength: 0, committed, ranker: BY_WEIGHT, ...traits }
}

/** What a source adds to an empty tree. */
export function propose(source: TextSource, sequence: DraftSequence, capacity = 256): CandidateTree {
  const tree = new CandidateTree(sequence.committed[sequence.committed.length - 1]!, AS_IS, capacity)
  source.propose({ sequence, tree, source: 0, least: 0 })
  return tree
}

export function observeAndPropose(source: TextSource, sequence: DraftSequence, capacity = 256): CandidateTree {
  source.observe(sequence, 0)
  return propose(source, sequence, capacity)
}

/** A sequence from its first token to its end. */
export function readAll(source: TextSource, sequence: DraftSequence): void {
  source.observe(sequence, 0)
  source.forget(sequence)
}

/** The tokens below a node, most probable first. */
export function childTokens(tree: CandidateTree, node = 0): number[] {
  return childrenByValue(tree, node).map((child) => tree.tokens[child]!)
}

/** The tokens under the root, always taking the most valuable child. */
export function mainBranch(tree: CandidateTree): number[] {
  const branch: number[] = []
  for (let [node] = childrenByValue(tree, 0); node !== undefined; [node] = childrenByValue(tree, node)) {
    branch.push(tree.tokens[node]!)
  }
  return branch
}

/** Asserts C1 and C2, and that estimates are probabilities. */
export function checkTree(tree: CandidateTree): void {
  const values = tree.values()
  assert.equal(values[0], 1)
  for (let node = 1; node < tree.size; node++) {
    const parent = tree.parents[node]!
    assert.ok(parent >= 0 && parent < node)
    assert.equal(tree.depths[node], tree.depths[parent]! + 1)
    assert.ok(tree.estimates[node]! > 0 && tree.estimates[node]! < 1)
    assert.ok(values[node]! <= values[parent]!)
    const sum = [...tree.childrenOf(node)].reduce((all, child) => all + tree.estimates[child]!, 0)
    assert.ok(sum <= 1 + 1e-9, `children of node ${node} are ${sum} probable`)
    assert.equal(new Set(childTokens(tree, node)).size, childTokens(tree, node).length)
  }
}

function childrenByValue(tree: CandidateTree, node: number): number[] {
  return [...tree.childrenOf(node)].sort((a, b) => tree.estimates[b]! - tree.estimates[a]! || a - b)
}
