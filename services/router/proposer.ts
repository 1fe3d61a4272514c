// Asks a drafter for token trees within a deadline. Speculation is optional at every step (I3): no answer in time, a
// bad tree or no drafter means a tree of one node, and a drafter that failed is left alone for a while.

import type { ActorSystem, Clock } from '../../lib/actor/actor.js'
import { fitTree } from '../../lib/speculative/tail-layout.js'
import { checkTree, pruneTree, type TokenTree } from '../../lib/speculative/token-tree.js'
import type { MessageOf } from '../../lib/wire/messages.js'
import { packI32, readF32, readI32 } from '../../lib/wire/tensor.js'
import type { Membership } from './membership.js'
import { numOutput, type Sequence } from './sequence.js'

const INHIBIT_MS = 1_000

export interface Proposer {
  /** A tree per sequence for which one came that pays; the others have none. */
  propose(step: string, sequences: readonly Sequence[], budget: DraftBudget): Promise<ReadonlyMap<Sequence, TokenTree>>
  forget(sequences: readonly string[]): void
}

export interface DraftBudget {
  readonly maxNodes: number // per sequence, root included
  readonly price: number // the least probability of acceptance at which a node pays
}

export interface ProposerOptions {
  readonly system: ActorSystem
  readonly clock: Clock
  readonly membership: Membership
  readonly vocabSize: number
  readonly maxPositions: number
  readonly timeoutMs: number
}

export function createProposer(options: ProposerOptions): Proposer {
  const { system, clock, membership } = options
  const inhibitedUntil = new Map<string, number>()

  const drafter = (): string | undefined =>
    membership.live('drafter').find(({ id }) => (inhibitedUntil.get(id) ?? 0) <= clock.now())?.id

  const propose: Proposer['propose'] = async (step, sequences, budget) => {
    const { maxNodes } = budget
    const wanting = sequences.filter(wantsDraft)
    const worker = wanting.length > 0 && maxNodes > 1 ? drafter() : undefined
    if (worker === undefined) return new Map()
    const entries = wanting.map((sequence) => ({
      sequence: sequence.id,
      from: sequence.draftedUpTo,
      tokens: packI32(sequence.tokens.slice(sequence.draftedUpTo)),
    }))
    const message = { kind: 'draft.propose', body: { step, maxNodes, entries }, replyKind: 'draft.trees' } as const
    try {
      const answer = await system.ask(worker, message, { timeoutMs: options.timeoutMs })
      return readTrees(answer, wanting, budget, options)
    } catch {
      // A lost or late draft costs speed only; what the drafter holds now is unknown.
      inhibitedUntil.set(worker, clock.now() + INHIBIT_MS)
      for (const sequence of wanting) sequence.draftedUpTo = 0
      return new Map()
    }
  }

  return {
    propose,
    forget: (sequences) => {
      const worker = drafter()
      if (worker !== undefined && sequences.length > 0)
        system.tell(worker, 'draft.forget', { sequences: [...sequences] })
    },
  }
}

/** Sequences whose drafts rarely hit are drafted for less and less often. */
function wantsDraft(sequence: Sequence): boolean {
  if (!sequence.drafts || sequence.limits.maxTokens - numOutput(sequence) < 2) return false
  if (sequence.draftSkips === 0) return true
  sequence.draftSkips -= 1
  return false
}

function readTrees(
  answer: MessageOf<'draft.trees'>,
  sequences: readonly Sequence[],
  budget: DraftBudget,
  { vocabSize, maxPositions }: ProposerOptions,
): Map<Sequence, TokenTree> {
  const trees = new Map<Sequence, TokenTree>()
  for (const entry of answer.entries) {
    const sequence = sequences.find((candidate) => candidate.id === entry.sequence)
    if (sequence === undefined) continue
    sequence.draftedUpTo = entry.resend ? 0 : sequence.tokens.length
    const tree = acceptable(entry, sequence, budget, vocabSize)
    if (tree === undefined || tree.tokens.length < 2) {
      postpone(sequence)
      continue
    }
    sequence.draftPause = 0
    const lastPosition = Math.min(maxPositions, sequence.promptLength + sequence.limits.maxTokens)
    trees.set(sequence, fitTree(tree, sequence.base, lastPosition))
  }
  return trees
}

/** What pays of a proposed tree. A lying drafter changes no text: a tree that breaks a rule is dropped. */
function acceptable(
  entry: MessageOf<'draft.trees'>['entries'][number],
  sequence: Sequence,
  { maxNodes, price }: DraftBudget,
  vocabSize: number,
): TokenTree | undefined {
  try {
    const tree = { tokens: [...readI32(entry.tokens, 'tokens')], parents: [...readI32(entry.parents, 'parents')] }
    checkTree(tree, { maxNodes, vocabSize, root: sequence.tokens.at(-1) ?? 0 })
    const values = readF32(entry.values, 'values')
    return pruneTree(tree, (node) => node === 0 || (values[node] ?? 0) >= price)
  } catch {
    return undefined
  }
}

const MAX_PAUSE = 16

/** Nothing to propose that pays: ask for this sequence less and less often. */
function postpone(sequence: Sequence): void {
  sequence.draftPause = Math.min(MAX_PAUSE, Math.max(1, 2 * sequence.draftPause))
  sequence.draftSkips = sequence.draftPause
}
