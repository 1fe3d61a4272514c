// Rules that judge a drafted tree, each as the exact distribution of what it emits. Only replay and typical acceptance
// are the product's; the others live here, to show that the oracle tells a lossless rule from one that is not.

import type { TokenTree } from '../../../lib/speculative/token-tree.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import { MEDUSA_THRESHOLDS, takeTypical } from '../../../lib/sampling/typical.js'
import { verify, verifyTypical, type IsEnd } from '../../../services/router/verify.js'
import { childrenOf, pathText, without, type Drafted } from './toy-drafts.js'
import { addTo, normalised, sumOf, type Distribution, type Model, type Probabilities, type Text } from './toy-models.js'

export interface Models {
  readonly target: Model
  readonly draft: Model
}
type Emit = (text: Text, probability: number) => void
export type Rule = (tree: TokenTree, models: Models, emit: Emit) => void

/** What comes out of one step, over all trees that may be drafted. */
export function emittedBy(rule: Rule, drafted: Iterable<Drafted>, models: Models): Distribution {
  const emitted = new Map<Text, number>()
  for (const { tree, probability } of drafted) {
    rule(tree, models, (text, share) => addTo(emitted, text, probability * share))
  }
  return emitted
}

const never: IsEnd = () => false

/** Sampler replay by the product's `verify`: all samples at all nodes, independent of each other. */
export const replayUntil =
  (isEnd: IsEnd): Rule =>
  (tree, { target }, emit) =>
    forAllSamples(tree, target, (samples, probability) =>
      emit(verify(tree, samples, isEnd).tokens.join(''), probability),
    )
export const replay = replayUntil(never)

/** LOSSY: the product's typical acceptance, `takeTypical` at every parent and `verifyTypical` over the whole. */
export const typical: Rule = (tree, { target }, emit) => {
  const takes = new Uint8Array(tree.tokens.length)
  for (let node = 0; node < tree.tokens.length; node++) {
    const children = childrenOf(tree, node)
    const logits = Float32Array.from(target(pathText(tree, node)), Math.log)
    const tokens = children.map((child) => tree.tokens[child]!)
    const params = { ...NEUTRAL_SAMPLING, temperature: 1 }
    const taken = takeTypical(logits, tokens, {
      ...MEDUSA_THRESHOLDS,
      params,
      context: { tokens: [], promptLength: 0 },
    })
    children.forEach((child, i) => (takes[child] = taken[i]!))
  }
  forAllSamples(tree, target, (samples, probability) =>
    emit(verifyTypical(tree, samples, takes, never).tokens.join(''), probability),
  )
}

function forAllSamples(tree: TokenTree, target: Model, use: (samples: number[], probability: number) => void): void {
  const rows = Array.from(tree.tokens, (_, node) => target(pathText(tree, node)))
  const samples = rows.map(() => 0)
  const choose = (node: number, probability: number): void => {
    if (probability === 0) return
    if (node === rows.length) return use(samples, probability)
    rows[node]!.forEach((share, token) => {
      samples[node] = token
      choose(node + 1, probability * share)
    })
  }
  choose(0, 1)
}

/** What is left of a node after its children were tried one after another. */
interface Trial {
  readonly target: Probabilities
  readonly draft: Probabilities
}
interface Refusal {
  readonly acceptance: (trial: Trial, token: number) => number
  readonly next: (trial: Trial, token: number) => Trial
}

/** Children are tried in order, each with a chance; after a refusal the next one meets another distribution. */
const childByChild =
  ({ acceptance, next }: Refusal): Rule =>
  (tree, { target, draft }, emit) => {
    const visit = (node: number, probability: number): void => {
      const path = pathText(tree, node)
      let trial: Trial = { target: target(path), draft: draft(path) }
      let alive = probability
      for (const child of childrenOf(tree, node)) {
        const token = tree.tokens[child]!
        const accepted = Math.min(1, acceptance(trial, token))
        visit(child, alive * accepted)
        alive *= 1 - accepted
        if (alive <= 1e-15) return
        trial = next(trial, token)
      }
      trial.target.forEach((share, token) => emit(path + token, alive * share))
    }
    visit(0, 1)
  }

/** max(0, scale * a - b) of each token. */
const excess = (a: Probabilities, b: Probabilities, scale = 1): Probabilities =>
  a.map((value, token) => Math.max(0, scale * value - b[token]!))
const ratio = ({ target, draft }: Trial, token: number): number => target[token]! / draft[token]!

/** Replay in other words: a refused child gets probability zero and the rest is scaled up. */
export const zeroOut = childByChild({
  acceptance: ({ target }, token) => target[token]!,
  next: ({ target, draft }, token) => ({ target: without(target, token), draft }),
})

/** For children drawn without replacement; on a chain it is token-level rejection. */
export const recursiveRejection = childByChild({
  acceptance: ratio,
  next: ({ target, draft }, token) => ({ target: normalised(excess(target, draft)), draft: without(draft, token) }),
})

/** For children drawn independently (MSS). */
export const independentRejection = childByChild({
  acceptance: ratio,
  next: ({ target, draft }) => ({ target: normalised(excess(target, draft)), draft }),
})

/** For children drawn independently below the root only: one scale for all of them (K-SEQ). */
export const scaledRejection: Rule = (tree, { target, draft }, emit) => {
  const [p, q] = [target(''), draft('')]
  const children = childrenOf(tree, 0)
  const scale = smallestScale(p, q, children.length)
  const capped = q.map((share, token) => Math.min(share, p[token]! / scale))
  const accepted = sumOf(capped)
  let alive = 1
  for (const child of children) {
    const token = tree.tokens[child]!
    const chance = Math.min(1, p[token]! / (scale * q[token]!))
    emit(String(token), alive * chance)
    alive *= 1 - chance
  }
  const anyAccepted = 1 - (1 - accepted) ** children.length
  const rest = normalised(p.map((share, token) => share - (capped[token]! * anyAccepted) / accepted))
  rest.forEach((share, token) => emit(String(token), alive * share))
}

function smallestScale(p: Probabilities, q: Probabilities, numChildren: number): number {
  let [low, high] = [1, numChildren]
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2
    const accepted = sumOf(q.map((share, token) => Math.min(share, p[token]! / middle)))
    if (1 - (1 - accepted) ** numChildren > middle * accepted) low = middle
    else high = middle
  }
  return high
}

/** A node on the way to the leaf that is judged; `reach` is the chance to end here if nothing below is kept. */
interface Open extends Trial {
  readonly path: Text
  readonly reach: number
  readonly waiting: readonly number[] // children that were not tried
}

/** From the leaves up, for children drawn without replacement (traversal); on a chain it is block verification. */
export const traversal: Rule = (tree, { target, draft }, emit) => {
  const open = (node: number, reach: number): Open => {
    const path = pathText(tree, node)
    return { path, reach, target: target(path), draft: draft(path), waiting: childrenOf(tree, node) }
  }
  const visit = (above: readonly Open[], top: Open, probability: number): void => {
    const [child] = top.waiting
    if (child !== undefined) {
      const reach = Math.min(1, top.reach * ratio(top, tree.tokens[child]!))
      return visit([...above, top], open(child, reach), probability)
    }
    top.target.forEach((share, token) => emit(top.path + token, probability * top.reach * share))
    const parent = above[above.length - 1]
    const refused = probability * (1 - top.reach)
    if (parent !== undefined && refused > 1e-15) visit(above.slice(0, -1), afterRefusal(parent, tree), refused)
  }
  visit([], open(0, 1), 1)
}

/** The node once its first waiting child, with all below it, was refused. */
function afterRefusal(node: Open, tree: TokenTree): Open {
  const left = excess(node.target, node.draft, node.reach)
  const mass = sumOf(left)
  return {
    path: node.path,
    reach: mass / (mass + 1 - node.reach),
    target: normalised(left),
    draft: without(node.draft, tree.tokens[node.waiting[0]!]!),
    waiting: node.waiting.slice(1),
  }
}
