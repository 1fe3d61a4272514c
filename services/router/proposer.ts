// Asks drafters for token trees within a deadline. Speculation is optional at every step (I3): no answer in time, a bad
// tree or no drafter means a tree of one node.
//
// Invariants
//   P1  A drafter that fails or is late costs one deadline, then nothing until it is heard of again, and for a pause that
//       doubles with every failure.
//   P2  A drafter is not trusted: what it proposes is checked, and a tree that breaks a rule is dropped.
//   P3  A sequence stays with its drafter while that lives; another one is told everything anew.

import type { ActorSystem, Clock } from '../../lib/actor/actor.js'
import { checkTree, fitTree, type TokenTree } from '../../lib/speculative/token-tree.js'
import type { Heartbeat, MessageOf } from '../../lib/wire/messages.js'
import { packI32, readF32, readI32 } from '../../lib/wire/tensor.js'
import type { Proposal } from './choose-trees.js'
import { samplingMessage } from './forward.js'
import { packHidden } from './hidden-backlog.js'
import type { Membership } from './membership.js'
import type { Chain } from './repetition.js'
import type { Sequence } from './sequence.js'

const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 60_000
const FIRST_USUAL_MS = 5
const LEAST_DEADLINE_MS = 25
const DEADLINE_TIMES = 6 // the usual time to an answer
const DEADLINE_PER_SEQUENCE_MS = 2
const DEADLINE_PER_TOKEN_MS = 0.02 // that the drafter has not seen
const MAX_DEADLINE_MS = 250
const MAX_HOMES = 16_384
const COPIED = 'prompt-lookup' // the source of what the router copies itself: what the drafter's does, of one match

export interface Proposer {
  /** What came in time, checked, of trees with more than one node; and the time that was waited. */
  propose(step: DraftedFor, sequences: readonly Sequence[], bar: DraftBar): Promise<Proposals>
  /** What was copied from a sequence's own text as a proposal; undefined where the context or the request ends before. */
  copied(sequence: Sequence, chain: Chain): Proposal | undefined
  /** Whether some drafter copies from a sequence's own text. */
  readonly copies: boolean
  /** Whether some drafter reads the target's hidden states. */
  readonly readsHidden: boolean
  readonly hasDrafter: boolean
  forget(sequences: readonly string[]): void
}

/** The step that drafts are for. */
export interface DraftedFor {
  readonly id: string
  readonly traceparent?: string | undefined
}

export interface Proposals {
  readonly proposals: readonly Proposal[]
  readonly waitedMs: number
}

export interface DraftBar {
  readonly maxNodes: number // per sequence, root included
  readonly tokensPerMs: number // what the step yields without drafting on; 0: not known
  readonly price: number // the least value at which a node pays
}

export interface ProposerOptions {
  readonly system: ActorSystem
  readonly clock: Clock
  readonly membership: Membership
  readonly vocabSize: number
  readonly maxPositions: number
  /** Name of those that a sequence of this tenant may learn from; '': nobody. */
  readonly scopeOf: (tenant: string) => string
}

interface Drafter {
  failures: number
  inhibitedUntilMs: number
  lastHeard: Heartbeat | undefined // when it failed
  usualMs: number
}

export function createProposer(options: ProposerOptions): Proposer {
  const { system, clock, membership } = options
  const drafters = new Map<string, Drafter>()
  const homes = new Map<string, string>() // sequence → drafter
  let numMoves = 0 // of sequences to a drafter: they take turns

  const drafterOf = (id: string): Drafter => {
    const known = drafters.get(id)
    if (known !== undefined) return known
    const drafter = { failures: 0, inhibitedUntilMs: 0, lastHeard: undefined, usualMs: FIRST_USUAL_MS }
    drafters.set(id, drafter)
    return drafter
  }

  const usable = (): readonly Heartbeat[] =>
    membership.live('drafter').filter((heartbeat) => {
      const { inhibitedUntilMs, lastHeard } = drafterOf(heartbeat.id)
      return inhibitedUntilMs <= clock.monotonicMs() && lastHeard !== heartbeat
    })

  const heartbeatOf = (wanted: string): Heartbeat | undefined =>
    membership.live('drafter').find(({ id }) => id === wanted)

  /** The sequences by their drafters (P3). */
  const assign = (sequences: readonly Sequence[]): Map<string, Sequence[]> => {
    const ids = usable().map(({ id }) => id)
    const groups = new Map<string, Sequence[]>()
    if (ids.length === 0) return groups
    for (const [oldest] of homes) if (homes.size > MAX_HOMES) homes.delete(oldest) // ended where nobody heard of it
    for (const sequence of sequences) {
      const home = homes.get(sequence.id)
      const id = home !== undefined && ids.includes(home) ? home : ids[numMoves++ % ids.length]!
      if (id !== home) sequence.draftedUpTo = 0
      homes.delete(sequence.id)
      homes.set(sequence.id, id)
      groups.set(id, [...(groups.get(id) ?? []), sequence])
    }
    return groups
  }

  const ask = async (
    id: string,
    step: DraftedFor,
    sequences: readonly Sequence[],
    bar: DraftBar,
  ): Promise<Proposal[]> => {
    const drafter = drafterOf(id)
    const started = clock.monotonicMs()
    const body = { step: step.id, ...bar, entries: sequences.map((sequence) => proposeEntry(sequence, options)) }
    const timeoutMs = deadlineFor(drafter, sequences)
    try {
      const question = { kind: 'draft.propose', body, replyKind: 'draft.trees' } as const
      const answer = await system.ask(id, question, { timeoutMs, traceparent: step.traceparent })
      const tookMs = clock.monotonicMs() - started
      drafter.usualMs += 0.1 * (tookMs - drafter.usualMs)
      drafter.failures = 0
      return readTrees(answer, sequences, bar, options)
    } catch {
      // A lost or late draft costs speed only; what the drafter holds now is unknown.
      drafter.failures += 1
      const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (drafter.failures - 1))
      drafter.inhibitedUntilMs = clock.monotonicMs() + pauseMs
      drafter.lastHeard = heartbeatOf(id)
      for (const sequence of sequences) sequence.draftedUpTo = 0
      return []
    }
  }

  return {
    propose: async (step, sequences, bar) => {
      const started = clock.monotonicMs()
      const groups = bar.maxNodes > 1 && sequences.length > 0 ? assign(sequences) : new Map<string, Sequence[]>()
      const answers = await Promise.all([...groups].map(([id, group]) => ask(id, step, group, bar)))
      return { proposals: answers.flat(), waitedMs: groups.size === 0 ? 0 : clock.monotonicMs() - started }
    },
    copied: (sequence, { tokens, values }) => {
      const root = sequence.tokens.at(-1) ?? 0
      const tree = {
        tokens: [root, ...tokens],
        parents: Array.from({ length: tokens.length + 1 }, (_, node) => node - 1),
      }
      return fitProposal({ sequence, tree, values: Float32Array.of(1, ...values), sources: () => [COPIED] }, options)
    },
    get copies() {
      return usable().some(({ load }) => (load.copies ?? 0) > 0)
    },
    get readsHidden() {
      return usable().some(({ load }) => (load.hidden ?? 0) > 0)
    },
    get hasDrafter() {
      return usable().length > 0
    },
    forget: (sequences) => {
      const groups = new Map<string, string[]>()
      for (const sequence of sequences) {
        const home = homes.get(sequence)
        homes.delete(sequence)
        if (home !== undefined && membership.isLive(home)) groups.set(home, [...(groups.get(home) ?? []), sequence])
      }
      for (const [id, ended] of groups) system.tell(id, 'draft.forget', { sequences: ended })
    },
  }
}

function deadlineFor({ usualMs }: Drafter, sequences: readonly Sequence[]): number {
  const numTokens = sequences.reduce((sum, { tokens, draftedUpTo }) => sum + tokens.length - draftedUpTo, 0)
  const usual = Math.max(LEAST_DEADLINE_MS, DEADLINE_TIMES * usualMs)
  const deadlineMs = usual + DEADLINE_PER_SEQUENCE_MS * sequences.length + DEADLINE_PER_TOKEN_MS * numTokens
  return Math.min(MAX_DEADLINE_MS, Math.ceil(deadlineMs))
}

function proposeEntry(sequence: Sequence, { scopeOf }: ProposerOptions) {
  const { id, draftedUpTo: from, tokens, hidden, promptLength, choice, sampling, tenant } = sequence
  const start = { promptLength, choice, sampling: samplingMessage(sampling), scope: scopeOf(tenant) }
  return {
    sequence: id,
    from,
    tokens: packI32(tokens.slice(from)),
    ...(from === 0 && { start }),
    ...(hidden !== undefined && { hidden: { from: hidden.from, rows: packHidden(hidden) } }),
  }
}

function readTrees(
  answer: MessageOf<'draft.trees'>,
  sequences: readonly Sequence[],
  bar: DraftBar,
  options: ProposerOptions,
): Proposal[] {
  const byId = new Map(sequences.map((sequence) => [sequence.id, sequence]))
  return answer.entries.flatMap((entry) => {
    const sequence = byId.get(entry.sequence)
    if (sequence === undefined) return [] // somebody else's, or one that came twice
    byId.delete(entry.sequence)
    sequence.draftedUpTo = entry.resend ? 0 : sequence.tokens.length
    if (!entry.resend) sequence.hidden = undefined
    const proposal =
      entry.tokens.shape[0] === 0 ? undefined : readProposal(entry, sequence, answer.sources, { ...options, ...bar })
    return proposal === undefined ? [] : [proposal]
  })
}

/** A checked proposal, cut to where the context or the request ends; undefined where it breaks a rule (P2). */
function readProposal(
  entry: MessageOf<'draft.trees'>['entries'][number],
  sequence: Sequence,
  names: readonly string[],
  limits: { maxNodes: number; vocabSize: number; maxPositions: number },
): Proposal | undefined {
  const { maxNodes, vocabSize } = limits
  try {
    const tree = { tokens: [...readI32(entry.tokens, 'tokens')], parents: [...readI32(entry.parents, 'parents')] }
    checkTree(tree, { maxNodes, vocabSize, root: sequence.tokens.at(-1) ?? 0 })
    const values = readF32(entry.values, 'values')
    const sources = readI32(entry.sources, 'sources')
    const namesOf = (node: number): string[] => names.filter((_, bit) => ((sources[node] ?? 0) >> bit) & 1)
    return fitProposal({ sequence, tree, values, sources: namesOf }, limits)
  } catch {
    return undefined
  }
}

interface Unfitted {
  readonly sequence: Sequence
  readonly tree: TokenTree
  readonly values: Float32Array
  readonly sources: (node: number) => readonly string[]
}

/** The part before the end of the context and of the request; undefined where that is the root alone. */
function fitProposal(
  { sequence, tree, values, sources }: Unfitted,
  { maxPositions }: { readonly maxPositions: number },
): Proposal | undefined {
  const lastPosition = Math.min(maxPositions, sequence.promptLength + sequence.limits.maxTokens)
  const { kept, ...fitting } = fitTree(tree, sequence.base, lastPosition)
  if (kept.length < 2) return undefined
  return {
    sequence,
    tree: fitting,
    values: fallingValues(
      fitting.parents,
      Float32Array.from(kept, (node) => values[node] ?? 0),
    ),
    sources: Array.from(kept, (node) => sources(node)),
  }
}

/** Values between 0 and 1 that never rise along a path, whatever a drafter says. */
function fallingValues(parents: ArrayLike<number>, values: Float32Array): Float32Array {
  values[0] = 1
  for (let node = 1; node < values.length; node++) {
    const value = values[node]!
    values[node] = value > 0 ? Math.min(value, values[parents[node]!]!) : 0 // NaN is 0 too
  }
  return values
}
