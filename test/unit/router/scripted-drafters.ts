// Drafters for tests of the proposer: they do as a test says, and so does the clock.

import type { ActorSystem } from '../../../lib/actor/actor.js'
import { createManualClock, type ManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import type { Body, Heartbeat, Message, MessageOf } from '../../../lib/wire/messages.js'
import { packF32, packI32, readI32 } from '../../../lib/wire/tensor.js'
import { createMembership } from '../../../services/router/membership.js'
import { createProposer, type Proposer } from '../../../services/router/proposer.js'
import type { Sequence } from '../../../services/router/sequence.js'
import { createTestSequence, promptOf } from './sequences.js'

export type Question = MessageOf<'draft.propose'>
export type Entry = Question['entries'][number]
export type TreeEntry = Body<'draft.trees'>['entries'][number]

/** What a drafter answers; an error is what the asker gets instead. */
export type Drafter = (question: Question) => TreeEntry[] | ClusterError

export const LATE = new ClusterError('deadline_exceeded', 'by the test')
export const GONE = new ClusterError('unavailable', 'by the test', { details: { reason: 'NO_RESPONDERS' } })
export const SOURCES = ['suffix', 'ngram']

/** A chain of one node behind the root; it takes all that it is told. */
export const chainEntry = ({ sequence, tokens }: Entry, fields: Partial<TreeEntry> = {}): TreeEntry => ({
  sequence,
  resend: false,
  tokens: packI32([readI32(tokens, 'tokens').at(-1) ?? 0, 3]),
  parents: packI32([-1, 0]),
  values: packF32(Float32Array.of(1, 0.5)),
  sources: packI32([0, 2]),
  ...fields,
})
export const honest: Drafter = ({ entries }) => entries.map((entry) => chainEntry(entry))

export interface ProposerSetup {
  readonly proposer: Proposer
  readonly clock: ManualClock
  readonly asked: readonly { readonly drafter: string; readonly question: Question; readonly timeoutMs: number }[]
  readonly told: readonly { readonly drafter: string; readonly message: Message }[]
  /** A drafter that is alive, or does otherwise from now on. */
  startDrafter(id: string, drafter?: Drafter, options?: { readonly hidden?: number }): void
  stopDrafter(id: string): void
  propose(...sequences: Sequence[]): ReturnType<Proposer['propose']>
  /** What the last question said of a sequence. */
  entryFor(sequence: Sequence): Entry
}

/** A proposer for 50 tokens and 100 positions, at 8 nodes a tree. */
export function setUpProposer(): ProposerSetup {
  const clock = createManualClock(1000)
  const membership = createMembership()
  const drafters = new Map<string, Drafter>()
  const asked: ProposerSetup['asked'][number][] = []
  const told: ProposerSetup['told'][number][] = []

  const answer = (address: string, question: Question, timeoutMs: number): Message => {
    asked.push({ drafter: address, question, timeoutMs })
    const entries = drafters.get(address)?.(question) ?? GONE
    if (entries instanceof ClusterError) throw entries
    return { kind: 'draft.trees', step: question.step, sources: SOURCES, computeMs: 0, entries }
  }
  // The generic messages of a system are the drafter's alone here; TypeScript cannot follow their kinds.
  const system = {
    clock,
    deadLetters: new Map(),
    ask: (address: string, { kind, body }: { kind: string; body: object }, { timeoutMs }: { timeoutMs: number }) =>
      Promise.resolve().then(() => answer(address, { kind, ...body } as Question, timeoutMs)),
    tell: (drafter: string, kind: string, body: object) =>
      told.push({ drafter, message: { kind, ...body } as Message }),
  } as unknown as ActorSystem
  const scopeOf = (tenant: string): string => `scope of ${tenant}`
  const proposer = createProposer({ system, clock, membership, vocabSize: 50, maxPositions: 100, scopeOf })

  const beat = (id: string, state: Heartbeat['state'], hidden = 0): void =>
    membership.observe(
      {
        kind: 'worker.heartbeat',
        role: 'drafter',
        id,
        incarnation: '1',
        pid: 1,
        state,
        deviceClass: 'none',
        fingerprint: '-',
        shards: [],
        capacity: { kvTokens: 0, maxRows: 0 },
        load: { hidden },
      },
      clock.now(),
    )

  return {
    proposer,
    clock,
    asked,
    told,
    startDrafter: (id, drafter = honest, { hidden = 0 } = {}) => {
      drafters.set(id, drafter)
      beat(id, 'ready', hidden)
    },
    stopDrafter: (id) => beat(id, 'stopped'),
    propose: (...sequences) => proposer.propose({ id: 'step' }, sequences, { maxNodes: 8, tokensPerMs: 1, price: 0.1 }),
    entryFor: ({ id }) => {
      const entries = asked.flatMap(({ question }) => question.entries)
      const entry = entries.findLast(({ sequence }) => sequence === id)
      if (entry === undefined) throw new Error(`${id} was not asked for`)
      return entry
    },
  }
}

/** A sequence that decodes. */
export function decodingSequence(id = 's', length = 5): Sequence {
  const sequence = createTestSequence(id, promptOf(length))
  sequence.base = length - 1
  return sequence
}
