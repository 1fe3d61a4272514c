// Speculation around a step: asks for drafts where they lately paid, lets the most valuable nodes of all sequences into
// the step, and learns from what became of them. It changes what a step costs, never which tokens come out (I1, I3).

import type { Clock } from '../../lib/actor/actor.js'
import { depths, pruneTree } from '../../lib/speculative/token-tree.js'
import { MEDUSA_THRESHOLDS } from '../../lib/sampling/typical.js'
import { chooseTrees, priceOf, type Proposal, type TreeChoice } from './choose-trees.js'
import type { CostModel } from './cost-model.js'
import { createDraftAccount, type AcceptedNodes } from './draft-account.js'
import { createDraftPace, UNPACED_DRAFTS } from './draft-pace.js'
import type { DraftedFor, Proposer } from './proposer.js'
import type { Scheduler } from './scheduler.js'
import { isDecoding, type BareStepTree, type Rows, type Sequence } from './sequence.js'
import { shapeOf, type StepShape } from './step-shape.js'

/** Rows of a prompt whose hidden states a drafter gets: longer contexts make EAGLE's guesses no better (measured). */
const HIDDEN_CONTEXT = 64

export interface SpeculationOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>
  readonly scheduler: Scheduler
  readonly proposer: Proposer
  readonly cost: CostModel
  readonly isTypical: boolean // the lossy rule
  readonly draftPrice?: number | undefined // fixed, instead of the measured one: every draft is tried
}

/**
 * Of so many steps that would have drafts two have none. What a step without drafts takes must be known to tell what
 * drafts cost, and known of the same minutes: a machine that became slower is told from a tree that takes long by
 * comparing. The second one is looked at: during the first the tokens of the last tree are still on their way to clients.
 */
const CONTROL_EVERY = 64

/**
 * Of so many steps with drafts one verifies half of the nodes that pay. Where all trees are of one size, what each node
 * costs cannot be told from what a tree costs whatever its size, and too large ones look cheap.
 */
const HALF_EVERY = 8

/** A step with its drafts. */
export interface DraftedStep {
  readonly rows: readonly Rows[]
  readonly shape: StepShape
  readonly drafts: ReadonlyMap<Sequence, StepDraft>
  readonly asked: readonly Sequence[]
  readonly isControl: boolean // drafts would have been asked for
  readonly unread: number // tokens of theirs that the drafter had not seen
  readonly waitedMs: number
  readonly choice: TreeChoice
}

/** What was drafted for a sequence, and which nodes of it are in the step. */
export interface StepDraft {
  readonly proposal: Proposal
  readonly nodes: ArrayLike<number> // of the proposal, in the step's order
}

/** A node of a step for the counters. */
export interface NodeReport {
  readonly sources: readonly string[]
  readonly depth: number
  readonly value: number // estimated probability that the path to it is accepted
  readonly isAccepted: boolean
}

export interface Speculation {
  draft(step: DraftedFor, planned: readonly Rows[]): Promise<DraftedStep>
  /** What the drafts brought: the accepted nodes of each sequence, and how long the step took after they had come. */
  learn(step: DraftedStep, accepted: AcceptedNodes, durationMs: number): void
}

export function createSpeculation(options: SpeculationOptions): Speculation {
  const { clock, scheduler, proposer, cost, isTypical, draftPrice } = options
  const pace = draftPrice === undefined ? createDraftPace() : UNPACED_DRAFTS
  const account = createDraftAccount(cost)
  let last = { durationMs: 0, endedMs: 0, isDrafted: false } // step
  let numWanted = 0 // steps with drafts or without, as a control

  const isMeasured = draftPrice === undefined // nothing has to be told where the price is fixed
  const isNextHalf = everyNth(HALF_EVERY)

  const propose = async (step: DraftedFor, planned: readonly Rows[], asked: readonly Sequence[]) => {
    if (asked.length === 0) return { proposals: [], waitedMs: 0 }
    const plain = shapeOf(planned)
    const maxNodes = Math.min(scheduler.maxTreeNodes, 1 + scheduler.treeRoom(planned))
    if (draftPrice !== undefined) return proposer.propose(step, asked, { maxNodes, tokensPerMs: 0, price: draftPrice })
    const tokensPerMs = cost.isKnown ? account.tokensPerMs(plain.decoding) : 0
    return proposer.propose(step, asked, { maxNodes, tokensPerMs, price: priceOf(plain, cost, tokensPerMs) })
  }

  /** What the attention worker is asked to return or to judge beside the tokens. */
  const withWishes = (rows: Rows, readsHidden: boolean): Rows => {
    const { sequence } = rows
    const { length } = rows.tree.tokens
    const isLooking = rows.sampled.length > 0 && pace.wantsNext(sequence) && readsHidden
    const typical = isTypical && isDecoding(sequence) && sequence.sampling.logprobs < 0 && length > 1
    if (!isLooking && !typical) return rows
    return {
      ...rows,
      ...(isLooking && { numHidden: isDecoding(sequence) ? length : Math.min(length, HIDDEN_CONTEXT) }),
      ...(typical && { typical: MEDUSA_THRESHOLDS }),
    }
  }

  const copyOf = (sequence: Sequence): Proposal | undefined => {
    const chain = pace.copyOf(sequence)
    return chain && proposer.copied(sequence, chain)
  }

  return {
    draft: async (step, planned) => {
      const readsHidden = proposer.readsHidden
      const decoding = planned.filter(({ sequence }) => isDecoding(sequence)).map(({ sequence }) => sequence)
      const mayDraft = scheduler.maxTreeNodes > 1 && proposer.hasDrafter
      if (mayDraft) {
        const maxCopied = proposer.copies ? scheduler.maxTreeNodes - 1 : 0
        pace.turn(last.durationMs, { decoding, price: account.price(shapeOf(planned)), maxCopied })
      }
      const gapMs = clock.monotonicMs() - last.endedMs
      if (decoding.length > 0 && decoding.length === planned.length) account.follows(gapMs, last.isDrafted)
      const wanting = mayDraft ? decoding.filter((one) => pace.wants(one)) : []
      if (wanting.length > 0) numWanted += 1
      const isPlain = isMeasured && wanting.length > 0 && numWanted % CONTROL_EVERY >= CONTROL_EVERY - 2
      const asked = isPlain ? [] : wanting
      const isControl = isPlain && !last.isDrafted
      const unread = asked.reduce((sum, { tokens, draftedUpTo }) => sum + tokens.length - draftedUpTo, 0)
      const { proposals: drafted, waitedMs } = await propose(step, planned, asked)
      const have = new Set(drafted.map(({ sequence }) => sequence))
      const copied = isPlain || !mayDraft ? [] : decoding.flatMap((one) => (have.has(one) ? [] : (copyOf(one) ?? [])))
      const proposals = [...drafted, ...copied]
      const open = planned.filter(({ sequence }) => !sequence.emitter.isClosed)
      const afterDraft = waitedMs > 0 ? 1 : 0
      const plain = { ...shapeOf(open), afterDraft }
      const spentMs = waitedMs + account.betweenMs
      const choice = chooseTrees(proposals, plain, cost, {
        spentMs,
        room: scheduler.treeRoom(open),
        price: draftPrice,
        share: isMeasured && asked.length > 0 && isNextHalf() ? 0.5 : 1,
      })
      const drafts = new Map<Sequence, StepDraft>()
      const byScheduled = new Map(proposals.map((proposal) => [proposal.sequence, proposal]))
      const rows = open.map((plain) => {
        const proposal = byScheduled.get(plain.sequence)
        const chosen = proposal && choice.nodes.get(proposal)
        if (proposal === undefined || chosen === undefined || chosen.length < 2) return withWishes(plain, readsHidden)
        const isChosen = new Set(chosen)
        const tree = pruneTree(proposal.tree, (node) => isChosen.has(node))
        const widened = scheduler.widen(plain, tree)
        if (widened !== plain) drafts.set(plain.sequence, { proposal, nodes: tree.kept })
        return withWishes(widened, readsHidden)
      })
      const shape = drafts.size === 0 ? plain : { ...shapeOf(rows), afterDraft }
      return { rows, shape, drafts, asked, isControl, unread, waitedMs, choice }
    },
    learn: (step, accepted, durationMs) => {
      last = { durationMs, endedMs: clock.monotonicMs(), isDrafted: step.asked.length > 0 }
      countDrafts(step)
      for (const [sequence, outcome] of account.settle(step, accepted, durationMs)) pace.learn(sequence, outcome)
    },
  }
}

/** True of every nth call. */
function everyNth(n: number): () => boolean {
  let count = 0
  return () => (count += 1) % n === 0
}

/** For the statistics of the sequences that were asked for. */
function countDrafts({ asked, choice, waitedMs }: DraftedStep): void {
  if (asked.length === 0) return
  const offered = new Map([...choice.nodes.keys()].map(({ sequence, tree }) => [sequence, tree.tokens.length - 1]))
  for (const sequence of asked) {
    const { stats } = sequence
    stats.draftSteps += 1
    stats.offered += offered.get(sequence) ?? 0
    stats.draftMs += waitedMs
    stats.priceSum += choice.price
  }
}

/** The drafted nodes of a step, for the counters. */
export function reportNodes(step: DraftedStep, accepted: AcceptedNodes): NodeReport[] {
  if (step.drafts.size === 0) return []
  return step.rows.flatMap(({ sequence, tree }) => {
    const draft = step.drafts.get(sequence)
    if (draft === undefined) return []
    const nodeDepths = depths(tree)
    const path = new Set(accepted.get(sequence))
    return Array.from(draft.nodes, (origin, node) => ({
      sources: draft.proposal.sources[origin] ?? [],
      depth: nodeDepths[node]!,
      value: draft.proposal.values[origin] ?? 0,
      isAccepted: path.has(node),
    })).slice(1)
  })
}

/** A sequence's tree of a step, for whoever asked to see it. */
export function stepTree(
  step: DraftedStep,
  { sequence, tree }: Rows,
  outcome: { readonly accepted: readonly number[]; readonly stepMs: number },
): BareStepTree {
  const draft = step.drafts.get(sequence)
  const { choice } = step
  return {
    nodes: Array.from(tree.tokens, (token, node) => ({
      token,
      parent: tree.parents[node]!,
      value: draft?.proposal.values[draft.nodes[node]!] ?? 1,
      sources: draft?.proposal.sources[draft.nodes[node]!] ?? [],
    })),
    accepted: outcome.accepted,
    proposed: Math.max(0, (draft?.proposal.tree.tokens.length ?? 1) - 1),
    price: choice.price,
    plainMs: choice.plainMs,
    predictedMs: choice.predictedMs,
    stepMs: outcome.stepMs,
    draftMs: step.waitedMs,
  }
}
