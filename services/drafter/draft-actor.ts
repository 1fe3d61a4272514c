// The drafter's messages: keeps up with the committed tokens and answers with a tree per sequence.
//
// Invariants
//   A1  Every entry of `draft.propose` gets an answer, in order. What the drafter cannot place (a gap, or tokens that
//       contradict what it holds) is answered with `resend` and no tree: never an error, never a wrong tree.
//   A2  A repeated or overlapping entry changes nothing, so a retried message is harmless.
//   A3  Drafting ahead gives way to messages after each wave.

import type { Tracer } from '@opentelemetry/api'
import type { Clock, Handlers } from '../../lib/actor/actor.js'
import { inHopSpan } from '../../lib/tracing/spans.js'
import type { Body, MessageOf } from '../../lib/wire/messages.js'
import { packF32, packI32, readF32, readI32 } from '../../lib/wire/tensor.js'
import type { HiddenRows } from './draft-model.js'
import type { DraftSequence } from './draft-source.js'
import type { Draft, Drafting, DraftTask } from './drafting.js'
import type { DrafterMetrics } from './metrics.js'
import { createRanker, type Ranker } from './ranker.js'
import { TokenLedger, type LedgerLimits } from './token-ledger.js'

export interface DraftLimits extends LedgerLimits {
  readonly maxNodes: number // per tree, root included, whatever the router asks for
}

export interface DrafterParts {
  readonly drafting: Drafting
  readonly clock: Clock
  readonly tracer: Tracer
  readonly sourceNames: readonly string[]
  readonly hidden: number // width of the hidden states that are read; 0: none are
  readonly sharedNoise: boolean
  readonly limits: DraftLimits
  readonly metrics?: Pick<DrafterMetrics, 'proposed' | 'holds'> | undefined
}

type ProposeEntry = Body<'draft.propose'>['entries'][number]
type TreeEntry = Body<'draft.trees'>['entries'][number]

interface Known extends DraftSequence {
  committed: Int32Array
}

/** Handlers of the drafter's actor, over fresh state. */
export function drafterHandlers(parts: DrafterParts): Handlers {
  const { drafting, clock, limits, tracer } = parts
  const sequences = new Map<string, Known>()
  const ledger = new TokenLedger(limits, (id) => {
    const sequence = sequences.get(id)
    sequences.delete(id)
    if (sequence !== undefined) drafting.forget(sequence)
  })
  parts.metrics?.holds(() => ({ sequences: ledger.size, tokens: ledger.numTokens }))
  let turn = 0

  /** What is to be drafted for; undefined where the tokens do not fit what is held. */
  const taskOf = (entry: ProposeEntry): DraftTask | undefined => {
    const tokens = readI32(entry.tokens, 'tokens')
    const numNew = append(ledger, entry.sequence, { from: entry.from, tokens })
    if (numNew === undefined) return undefined
    const sequence = sequences.get(entry.sequence) ?? openSequence(parts, entry)
    if (sequence === undefined) {
      ledger.drop(entry.sequence)
      return undefined
    }
    sequences.set(entry.sequence, sequence)
    sequence.committed = ledger.tokens(entry.sequence)
    return { sequence, numNew, hidden: hiddenOf(parts, entry) }
  }

  const draftAhead = (mine: number): void => {
    void clock.turn().then(() => {
      try {
        if (mine === turn && drafting.ahead()) draftAhead(mine)
      } catch {
        turn += 1 // nobody waits for this: what is broken fails the next question, where the supervisor sees it
      }
    })
  }

  const propose = ({ step, maxNodes, tokensPerMs, price, entries }: MessageOf<'draft.propose'>) => {
    const started = clock.monotonicMs()
    const taken = entries.map(taskOf)
    const tasks = taken.map((task) => (task && sequences.has(task.sequence.id) ? task : undefined)) // some were evicted
    const bar = { maxNodes: Math.max(1, Math.min(maxNodes, limits.maxNodes)), tokensPerMs, price }
    const drafts = drafting.propose(
      tasks.filter((task) => task !== undefined),
      bar,
    )
    let next = 0
    const trees = entries.map(({ sequence }, i) => treeEntry(sequence, tasks[i] && drafts[next++]))
    draftAhead((turn += 1))
    const computeMs = clock.monotonicMs() - started
    parts.metrics?.proposed({ drafts, resends: trees.length - drafts.length, tookMs: computeMs })
    return { kind: 'draft.trees' as const, step, sources: [...parts.sourceNames], computeMs, entries: trees }
  }

  return {
    'draft.propose': (message, context) =>
      inHopSpan(tracer, 'draft.propose', context.traceparent, async (_, span) => {
        const answer = propose(message)
        const numNodes = answer.entries.reduce((sum, { tokens }) => sum + (tokens.shape[0] ?? 0), 0)
        span.setAttributes({
          'banyan.step.id': message.step,
          'banyan.step.sequences': message.entries.length,
          'banyan.draft.nodes': numNodes,
          'banyan.queue_ms': context.queuedMs,
        })
        return answer
      }),
    'draft.forget': ({ sequences: ended }) => ended.forEach((sequence) => ledger.drop(sequence)),
  }
}

function openSequence({ sharedNoise }: DrafterParts, { sequence: id, start }: ProposeEntry): Known | undefined {
  if (start === undefined) return undefined
  const { promptLength, choice, scope, sampling } = start
  const params = { ...sampling, seed: BigInt(sampling.seed) }
  const ranker: Ranker = createRanker(params, { choice, promptLength, isShared: sharedNoise })
  return { id, scope, promptLength, ranker, committed: new Int32Array(0) }
}

/** Hidden states that came with an entry; of another width than the sources read they are left out. */
function hiddenOf({ hidden: width }: DrafterParts, { hidden }: ProposeEntry): HiddenRows | undefined {
  if (hidden === undefined || width === 0 || hidden.rows.shape[1] !== width) return undefined
  return { from: hidden.from, rows: readF32(hidden.rows, 'hidden') }
}

interface Committed {
  readonly from: number
  readonly tokens: Int32Array
}

/** Takes in what is new and returns how much; undefined where a gap, a contradiction or nothing at all would be held. */
function append(ledger: TokenLedger, sequence: string, { from, tokens }: Committed): number | undefined {
  const held = ledger.tokens(sequence)
  const isUnknown = held.length === 0 && tokens.length === 0
  if (from > held.length || isUnknown) return undefined
  const overlap = Math.min(held.length - from, tokens.length)
  if (tokens.subarray(0, overlap).some((token, i) => token !== held[from + i])) {
    ledger.drop(sequence)
    return from === 0 ? append(ledger, sequence, { from, tokens }) : undefined
  }
  const added = tokens.subarray(overlap)
  ledger.append(sequence, added)
  return added.length
}

function treeEntry(sequence: string, draft: Draft | undefined): TreeEntry {
  const { tokens, parents, values, sources } = draft ?? NO_TREE
  return {
    sequence,
    resend: draft === undefined,
    tokens: packI32(tokens),
    parents: packI32(parents),
    values: packF32(values),
    sources: packI32(sources),
  }
}

const NO_TREE: Draft = {
  tokens: new Int32Array(0),
  parents: new Int32Array(0),
  values: new Float32Array(0),
  sources: new Int32Array(0),
}
