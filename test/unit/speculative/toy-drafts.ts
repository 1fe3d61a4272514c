// Every tree that a way of drafting can come up with, and how likely it is to. Siblings are in draw order.

import { ancestors, depths, pruneTree, type TokenTree } from '../../../lib/speculative/token-tree.js'
import { normalised, TOKENS, type Model, type Probabilities, type Text } from './toy-models.js'

export interface Drafted {
  readonly tree: TokenTree
  readonly probability: number
}

/** The tokens from below the root to a node. */
export const pathText = (tree: TokenTree, node: number): Text =>
  ancestors(tree, node)
    .slice(1)
    .map((at) => tree.tokens[at]!)
    .join('')

export const childrenOf = ({ parents }: TokenTree, node: number): number[] =>
  Array.from(parents).flatMap((parent, child) => (parent === node ? [child] : []))

export const without = (probabilities: Probabilities, token: number): Probabilities =>
  normalised(probabilities.with(token, 0))

/** How likely the draft model is to write the text. */
export const likelihood = (draft: Model, text: Text): number =>
  Array.from(text).reduce((product, token, i) => product * draft(text.slice(0, i))[Number(token)]!, 1)

/** The draft model's best tokens, as many at each depth as `branching` says. */
export function topTree(draft: Model, branching: readonly number[]): TokenTree {
  const tokens = [0]
  const parents = [-1]
  for (let node = 0; node < tokens.length; node++) {
    const path = pathText({ tokens, parents }, node)
    const shares = draft(path)
    const best = TOKENS.toSorted((a, b) => shares[b]! - shares[a]!).slice(0, branching[path.length] ?? 0)
    tokens.push(...best)
    parents.push(...best.map(() => node))
  }
  return { tokens, parents }
}

export interface Drawing {
  readonly draft: Model
  readonly numChildren: (path: Text) => number // decided before they are drawn
  readonly isReplaced?: boolean // siblings are independent and may be equal
}

/** All trees whose children are drawn from the draft model. */
export function* sampledTrees(drawing: Drawing, so = ROOT_ONLY, node = 0): Generator<Drafted> {
  const { tree, probability } = so
  if (node === tree.tokens.length) {
    yield so
    return
  }
  const path = pathText(tree, node)
  for (const drawn of draws(drawing.draft(path), drawing.numChildren(path), drawing.isReplaced ?? false)) {
    const wider = {
      tokens: [...Array.from(tree.tokens), ...drawn.tokens],
      parents: [...Array.from(tree.parents), ...drawn.tokens.map(() => node)],
    }
    yield* sampledTrees(drawing, { tree: wider, probability: probability * drawn.probability }, node + 1)
  }
}

const ROOT_ONLY: Drafted = { tree: { tokens: [0], parents: [-1] }, probability: 1 }

interface Drawn {
  readonly tokens: readonly number[]
  readonly probability: number
}

function draws(shares: Probabilities, count: number, isReplaced: boolean): Drawn[] {
  if (count === 0) return [{ tokens: [], probability: 1 }]
  return TOKENS.filter((token) => shares[token]! > 0).flatMap((token) =>
    draws(isReplaced ? shares : without(shares, token), count - 1, isReplaced).map((rest) => ({
      tokens: [token, ...rest.tokens],
      probability: shares[token]! * rest.probability,
    })),
  )
}

export const byDepth =
  (...branching: readonly number[]) =>
  (path: Text): number =>
    branching[path.length] ?? 0

/** The tree with its `count` likeliest drafted nodes: chosen after their tokens were seen. */
export function likeliest({ tree, probability }: Drafted, draft: Model, count: number): Drafted {
  const likelihoods = Array.from(tree.tokens, (_, node) => likelihood(draft, pathText(tree, node)))
  const nodeDepths = depths(tree)
  const order = Array.from(tree.tokens, (_, node) => node)
    .slice(1)
    .sort((a, b) => likelihoods[b]! - likelihoods[a]! || nodeDepths[a]! - nodeDepths[b]! || a - b)
  const kept = new Set([0, ...order.slice(0, count)])
  return { tree: pruneTree(tree, (node) => kept.has(node)), probability }
}
