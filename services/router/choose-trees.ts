// Which drafted nodes a step verifies: all sequences of the step compete for one budget, the most valuable nodes first,
// as many as make the step yield most tokens per millisecond by the measured cost model; none where none pays. Wider
// steps touch more distinct experts, which the model prices.
//
// Invariants
//   B1  What is chosen of a proposal is a tree: values never rise along a path, so a node's parent goes before it.
//   B2  A step is never wider than its budget, a tree never larger than its limit.
//   B3  Pure: the same proposals and costs give the same trees.

import type { TokenTree } from '../../lib/speculative/token-tree.js'
import type { CostModel } from './cost-model.js'
import type { Sequence } from './sequence.js'
import { withNodes, type StepShape } from './step-shape.js'

/** What a drafter offers for a sequence. */
export interface Proposal {
  readonly sequence: Sequence
  readonly tree: TokenTree
  readonly values: Float32Array // [nodes], 1 for node 0
  readonly sources: readonly (readonly string[])[] // [nodes]
}

export interface TreeChoice {
  /** Of each proposal the nodes to verify, ascending, node 0 first; one alone where nothing pays. */
  readonly nodes: ReadonlyMap<Proposal, readonly number[]>
  readonly price: number // the least value at which a node would have paid
  readonly plainMs: number // predicted without nodes; 0: not known
  readonly predictedMs: number
}

const UNKNOWN_PRICE = 0.2 // while step times are not known
const TYPICAL_NODES = 4
const COARSE_FROM = 16 // nodes above which the yield is looked at every few nodes only
const COARSE_STEP = 4

export interface ChoiceLimits {
  readonly room: number // rows that the step may still take
  readonly spentMs?: number // by now: it counts for the yield, whatever is chosen
  readonly price?: number | undefined // a fixed one instead of the measured
  readonly share?: number // of the nodes that pay
}

/** `plain` is the step without any drafts. */
export function chooseTrees(
  proposals: readonly Proposal[],
  plain: StepShape,
  cost: Pick<CostModel, 'predict' | 'isKnown'>,
  { room, spentMs = 0, price: fixedPrice, share = 1 }: ChoiceLimits,
): TreeChoice {
  const offers = proposals
    .flatMap((proposal) => Array.from(proposal.values, (value, node) => ({ proposal, node, value })).slice(1))
    .sort((a, b) => b.value - a.value || a.node - b.node)
    .slice(0, Math.max(0, room))
  const values = offers.map(({ value }) => value)
  const plainMs = cost.isKnown ? cost.predict(plain) : 0
  const isMeasured = fixedPrice === undefined && cost.isKnown
  const { count: paying, price } = isMeasured
    ? bestCount(values, plain, (shape) => spentMs + (shape === plain ? plainMs : cost.predict(shape)))
    : countAbove(values, fixedPrice ?? UNKNOWN_PRICE)
  const count = Math.ceil(share * paying)
  const nodes = new Map<Proposal, number[]>(proposals.map((proposal) => [proposal, [0]]))
  for (const { proposal, node } of offers.slice(0, count)) nodes.get(proposal)?.push(node)
  for (const list of nodes.values()) list.sort((a, b) => a - b)
  const predictedMs = count > 0 && cost.isKnown ? cost.predict(withNodes(plain, count)) : plainMs
  return { nodes, price, plainMs, predictedMs }
}

/**
 * The least value at which a first node for every decoding sequence pays, before anything is drafted, where such steps
 * lately yielded so much.
 */
export function priceOf(plain: StepShape, cost: Pick<CostModel, 'predict' | 'isKnown'>, tokensPerMs: number): number {
  if (!cost.isKnown || plain.decoding === 0 || tokensPerMs === 0) return UNKNOWN_PRICE
  const added = TYPICAL_NODES * plain.decoding // the very first ones load most experts
  const addedMs = (cost.predict(withNodes(plain, added)) - cost.predict(plain)) / added
  return Math.min(1, addedMs * tokensPerMs)
}

function countAbove(values: readonly number[], price: number): { count: number; price: number } {
  const first = values.findIndex((value) => value < price)
  return { count: first < 0 ? values.length : first, price }
}

/** The number of nodes with which the step yields most tokens per millisecond. */
function bestCount(
  values: readonly number[],
  plain: StepShape,
  msOf: (shape: StepShape) => number,
): { count: number; price: number } {
  let tokens = plain.decoding
  if (tokens === 0) return { count: 0, price: 1 } // nothing decodes
  const plainMs = msOf(plain)
  let best = { count: 0, ms: plainMs, rate: tokens / plainMs }
  for (let count = 1; count <= values.length; count++) {
    tokens += values[count - 1]!
    if (count > COARSE_FROM && count % COARSE_STEP > 0 && count < values.length) continue
    const ms = msOf(withNodes(plain, count))
    if (tokens / ms > best.rate) best = { count, ms, rate: tokens / ms }
  }
  const { count, ms, rate } = best
  const addedMs = (msOf(withNodes(plain, count + 2)) - ms) / 2
  return { count, price: Math.min(1, rate * addedMs) }
}
