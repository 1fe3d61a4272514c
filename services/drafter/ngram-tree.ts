// Grows a tree from counts of what followed the last tokens elsewhere: the most probable paths first, as the frequency
// trees of SuffixDecoding do (arXiv 2411.04975). What the counts come from is the source's business.
//
// Invariants
//   G1  A node joins while its path is at least `minValue` probable by these counts, and as probable as the caller asks
//       for, the most probable path first.
//   G2  At most `maxNodes` nodes, none deeper than `maxDepth`.
//   G3  A longer context speaks first; a shorter one only for the probability that the longer ones leave open.

import type { DraftTarget } from './draft-source.js'

/** What followed the last tokens. */
export interface Context {
  readonly tokens: readonly number[] // at least one, all different
  readonly weights: readonly number[] // [tokens], above 0
  readonly trust: number // probability that the next token is among them, below 1
}

/** Where a path stands in what was read. */
export interface Place {
  /** The longest context first. */
  contexts(): Iterable<Context>
  /** Where the path stands after one more token; undefined where nothing is known to follow. */
  after(token: number): Place | undefined
}

export interface GrowthLimits {
  readonly maxNodes: number
  readonly maxDepth: number
  readonly minValue: number
}

interface Leaf {
  readonly node: number
  readonly value: number // probability of its path
  readonly place: Place
}

const MAX_CONTEXTS = 4
const MAX_TOKENS = 16 // of a blend: those that weigh most
const MAX_CHILDREN = 8
const MISTRUST = 3 // times that something new follows a context of one token; half as often after two, and so on

/** Probability that the next token is one of those that followed a context of `length` tokens `total` times. */
export function trustOf(total: number, length: number): number {
  return total / (total + MISTRUST / length)
}

/** Adds the most probable paths from the root, which stands at `place`. */
export function growTree(place: Place, target: DraftTarget, limits: GrowthLimits): void {
  const leaves: Leaf[] = [{ node: 0, value: 1, place }]
  const minValue = Math.max(limits.minValue, target.least)
  let numNodes = 0
  for (let leaf = takeBest(leaves); leaf !== undefined; leaf = takeBest(leaves)) {
    const children = addChildren(leaf, target, { ...limits, minValue, maxNodes: limits.maxNodes - numNodes })
    numNodes += children.length
    if (numNodes >= limits.maxNodes) return
    if (target.tree.depths[leaf.node]! + 1 < limits.maxDepth) leaves.push(...standing(children, leaf.place))
  }
}

interface Child {
  readonly node: number
  readonly value: number
  readonly token: number
}

function addChildren(
  { node, value, place }: Leaf,
  { sequence, tree, source }: DraftTarget,
  limits: GrowthLimits,
): Child[] {
  const children: Child[] = []
  const { tokens, weights, trust } = blend(place, limits.minValue / value)
  const position = sequence.committed.length + tree.depths[node]!
  for (const { token, probability } of sequence.ranker.rankWeights(tokens, weights, position, MAX_CHILDREN)) {
    const estimate = trust * probability
    if (value * estimate < limits.minValue || children.length >= limits.maxNodes) break
    const child = tree.add(node, token, source, estimate)
    if (child === undefined) break
    children.push({ node: child, value: value * estimate, token })
  }
  return children
}

function standing(children: readonly Child[], place: Place): Leaf[] {
  return children.flatMap(({ node, value, token }) => {
    const next = place.after(token)
    return next === undefined ? [] : [{ node, value, place: next }]
  })
}

function takeBest(leaves: Leaf[]): Leaf | undefined {
  let best = 0
  for (let i = 1; i < leaves.length; i++) if (leaves[i]!.value > leaves[best]!.value) best = i
  const leaf = leaves[best]
  const last = leaves.pop()
  if (last !== undefined && best < leaves.length) leaves[best] = last
  return leaf
}

/** One context of several: shorter ones are asked until less than `enough` probability is left open. */
function blend(place: Place, enough: number): Context {
  const contexts: Context[] = []
  let open = 1
  for (const context of place.contexts()) {
    contexts.push(context)
    open *= 1 - context.trust
    if (open < enough || contexts.length === MAX_CONTEXTS) break
  }
  const [only] = contexts
  const isSimple = only !== undefined && contexts.length === 1 && only.tokens.length <= MAX_TOKENS
  return isSimple ? only : heaviest(probabilitiesOf(contexts))
}

/** token → probability: each context is trusted with what the longer ones leave open. */
function probabilitiesOf(contexts: readonly Context[]): Map<number, number> {
  const probabilities = new Map<number, number>()
  let open = 1
  for (const { tokens, weights, trust } of contexts) {
    const scale = (open * trust) / sumOf(weights)
    tokens.forEach((token, i) => probabilities.set(token, (probabilities.get(token) ?? 0) + weights[i]! * scale))
    open *= 1 - trust
  }
  return probabilities
}

function heaviest(probabilities: Map<number, number>): Context {
  const entries = [...probabilities]
  if (entries.length > MAX_TOKENS) entries.sort((a, b) => b[1] - a[1] || a[0] - b[0]).splice(MAX_TOKENS)
  const weights = entries.map(([, probability]) => probability)
  return { tokens: entries.map(([token]) => token), weights, trust: sumOf(weights) }
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0)
}
