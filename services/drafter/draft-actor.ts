// The drafter's messages: keeps up with the committed tokens and asks its sources for a tree per sequence.
//
// Invariants
//   A1  Every entry of `draft.propose` gets an answer, in order. What the drafter cannot place (a gap, or tokens that
//       contradict what it holds) is answered with `resend` and a tree of one node: never an error, never a wrong tree.
//   A2  A repeated or overlapping entry changes nothing, so a retried message is harmless.

import type { Handlers } from '../../lib/actor/actor.js'
import type { Body, MessageOf } from '../../lib/wire/messages.js'
import { packF32, packI32, readI32 } from '../../lib/wire/tensor.js'
import { emptyDraft, promiseOf, type Draft, type DraftSource } from './draft-source.js'
import { TokenLedger, type LedgerLimits } from './token-ledger.js'

export interface DraftLimits extends LedgerLimits {
  readonly maxNodes: number // per tree, root included, whatever the router asks for
}

type ProposeEntry = Body<'draft.propose'>['entries'][number]
type TreeEntry = Body<'draft.trees'>['entries'][number]

/** Handlers of the drafter's actor, over fresh state. */
export function drafterHandlers(sources: readonly DraftSource[], limits: DraftLimits): Handlers {
  const ledger = new TokenLedger(limits, (sequence) => {
    for (const source of sources) source.forget(sequence)
  })
  const draftFor = (entry: ProposeEntry, maxNodes: number): TreeEntry => {
    const { sequence, from } = entry
    const tokens = readI32(entry.tokens, 'tokens')
    if (!follow({ ledger, sources }, { sequence, from, tokens })) {
      return treeEntry(sequence, tokens.length === 0 ? undefined : emptyDraft(tokens[tokens.length - 1]!), true)
    }
    const committed = ledger.tokens(sequence)
    return treeEntry(sequence, best(sources.map((source) => source.propose(sequence, committed, maxNodes))), false)
  }
  return {
    'draft.propose': ({ step, maxNodes, entries }): MessageOf<'draft.trees'> => {
      const limit = Math.max(1, Math.min(maxNodes, limits.maxNodes))
      return { kind: 'draft.trees', step, entries: entries.map((entry) => draftFor(entry, limit)) }
    },
    'draft.forget': ({ sequences }) => sequences.forEach((sequence) => ledger.drop(sequence)),
  }
}

interface Committed {
  readonly sequence: string
  readonly from: number
  readonly tokens: Int32Array
}

/** Takes in what is new; false where the drafter would hold a gap, a contradiction or nothing at all. */
function follow(
  { ledger, sources }: { ledger: TokenLedger; sources: readonly DraftSource[] },
  { sequence, from, tokens }: Committed,
): boolean {
  const held = ledger.tokens(sequence)
  const isUnknown = held.length === 0 && tokens.length === 0
  if (from > held.length || isUnknown) return false
  const overlap = Math.min(held.length - from, tokens.length)
  if (tokens.subarray(0, overlap).some((token, i) => token !== held[from + i])) {
    ledger.drop(sequence)
    return from === 0 && follow({ ledger, sources }, { sequence, from, tokens })
  }
  ledger.append(sequence, tokens.subarray(overlap))
  const committed = ledger.tokens(sequence)
  for (const source of sources) source.observe(sequence, committed, held.length)
  return true
}

/** The draft that promises most tokens; the earlier source where two promise the same. */
function best(drafts: readonly Draft[]): Draft | undefined {
  return drafts.reduce<Draft | undefined>(
    (most, draft) => (most === undefined || promiseOf(draft) > promiseOf(most) ? draft : most),
    undefined,
  )
}

function treeEntry(sequence: string, draft: Draft | undefined, resend: boolean): TreeEntry {
  const { tokens, parents, values } = draft ?? NO_TREE
  return { sequence, resend, tokens: packI32(tokens), parents: packI32(parents), values: packF32(values) }
}

const NO_TREE: Draft = { tokens: new Int32Array(0), parents: new Int32Array(0), values: new Float32Array(0) }
