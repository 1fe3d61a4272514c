// What the sources' estimates are worth, learned from the tokens that were committed: per source, depth and size of the
// estimate the share of nodes that came true, as a factor on the estimate. A node that several sources proposed is
// judged once more by which ones agreed.
//
// Invariants
//   K1  A calibrated value lies in (0, 1) and keeps the order of estimates that fall into one bin.
//   K2  Only children of nodes on the committed path are counted: what came after a wrong node says nothing.
//   K3  Older observations fade, so a change of text is followed; memory is bounded by the number of combinations.

import type { Calibrator, CandidateTree } from './candidate-tree.js'

const BIN_ENDS = [0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95] // and one above
const NUM_BINS = BIN_ENDS.length + 1
const MAX_DEPTH = 6 // deeper nodes are counted as of this depth
const PRIOR_WEIGHT = 2 // expected hits that an estimate is worth before anything was seen
const MEMORY = 400 // expected hits after which older ones count half
const LEAST = 0.001
const MOST = 0.995

interface Count {
  expected: number // sum of the estimates
  correct: number
}

export interface Calibration {
  /** For drafts of greedy or of sampled sequences: their estimates differ. */
  for(isGreedy: boolean): Calibrator
  /** Learns from a tree and the tokens that followed its root. */
  observe(tree: CandidateTree, isGreedy: boolean, committed: ArrayLike<number>): void
  /** Share of the nodes at a source's first bins that came true, for a look: [source, depth] → [proposed, correct]. */
  counts(): ReadonlyMap<string, { readonly proposed: number; readonly correct: number }>
}

const binOf = (probability: number): number => {
  const bin = BIN_ENDS.findIndex((end) => probability < end)
  return bin < 0 ? NUM_BINS - 1 : bin
}

export function createCalibration(sourceNames: readonly string[]): Calibration {
  const tables = new Map<number, Count>()
  const totals = new Map<string, { proposed: number; correct: number }>()

  const countOf = (key: number): Count => {
    const known = tables.get(key)
    if (known !== undefined) return known
    const count = { expected: 0, correct: 0 }
    tables.set(key, count)
    return count
  }
  const factor = (key: number): number => {
    const { expected, correct } = tables.get(key) ?? { expected: 0, correct: 0 }
    return (correct + PRIOR_WEIGHT) / (expected + PRIOR_WEIGHT)
  }
  const calibrated = (key: number, probability: number): number =>
    Math.min(MOST, Math.max(LEAST, probability * factor(key)))

  const keyOfSource = (isGreedy: boolean, source: number, depth: number, bin: number): number =>
    ((source * (MAX_DEPTH + 1) + Math.min(depth, MAX_DEPTH)) * NUM_BINS + bin) * 2 + (isGreedy ? 1 : 0)
  const keyOfSources = (isGreedy: boolean, sources: number, bin: number): number =>
    -1 - ((sources * NUM_BINS + bin) * 2 + (isGreedy ? 1 : 0))

  const calibrator = (isGreedy: boolean): Calibrator => ({
    ofSource: (source, depth, probability) =>
      calibrated(keyOfSource(isGreedy, source, depth, binOf(probability)), probability),
    ofSources: (sources, probability) =>
      isSingle(sources) ? probability : calibrated(keyOfSources(isGreedy, sources, binOf(probability)), probability),
  })
  const calibrators = { greedy: calibrator(true), sampled: calibrator(false) }

  const learn = (key: number, probability: number, isCorrect: boolean): void => {
    const count = countOf(key)
    if (count.expected + count.correct >= MEMORY) {
      count.expected /= 2
      count.correct /= 2
    }
    count.expected += probability
    if (isCorrect) count.correct += 1
  }

  const learnNode = (tree: CandidateTree, node: number, isGreedy: boolean, isCorrect: boolean): void => {
    const sources = tree.sources[node]!
    const depth = tree.depths[node]!
    for (const [source, name] of sourceNames.entries()) {
      const raw = tree.rawOf(node, source)
      if (raw === undefined) continue
      learn(keyOfSource(isGreedy, source, depth, binOf(raw)), raw, isCorrect)
      const total = totals.get(`${name} ${depth}`) ?? { proposed: 0, correct: 0 }
      totals.set(`${name} ${depth}`, total)
      total.proposed += 1
      if (isCorrect) total.correct += 1
    }
    const estimate = tree.estimates[node]!
    if (!isSingle(sources)) learn(keyOfSources(isGreedy, sources, binOf(estimate)), estimate, isCorrect)
  }

  return {
    for: (isGreedy) => (isGreedy ? calibrators.greedy : calibrators.sampled),
    observe: (tree, isGreedy, committed) => {
      const walk = tree.walk(committed)
      for (const [i, parent] of walk.slice(0, committed.length).entries()) {
        for (const node of tree.childrenOf(parent)) learnNode(tree, node, isGreedy, node === walk[i + 1])
      }
    },
    counts: () => totals,
  }
}

const isSingle = (sources: number): boolean => (sources & (sources - 1)) === 0
