// A drafter's actor as its router sees it: messages in, trees out.

import { trace } from '@opentelemetry/api'
import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import type { Handlers, MessageContext } from '../../../lib/actor/actor.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import { MESSAGE_SCHEMAS, type Body, type Message } from '../../../lib/wire/messages.js'
import { packI32, readF32, readI32 } from '../../../lib/wire/tensor.js'
import { createCalibration } from '../../../services/drafter/calibration.js'
import { drafterHandlers, type DrafterParts } from '../../../services/drafter/draft-actor.js'
import type { TextSource } from '../../../services/drafter/draft-source.js'
import { createDrafting, type Drafting, type DraftTask } from '../../../services/drafter/drafting.js'
import { scriptedSource } from './scripted.js'

const CONTEXT: MessageContext = {
  sender: 'router-0',
  dueMs: 0,
  queuedMs: 0,
  traceparent: undefined,
  signal: new AbortController().signal,
}
export const LIMITS = { maxNodes: 16, maxSequences: 3, maxTokens: 100 }

/** Repeats a sequence from its start: a chain of its first tokens. */
export const parrot = scriptedSource('parrot', (committed) => [...committed.subarray(0, 3)])

export const partsOf = (drafting: Drafting, names: readonly string[]): DrafterParts => ({
  drafting,
  clock: systemClock,
  tracer: trace.getTracer('test'),
  sourceNames: names,
  hidden: 0,
  sharedNoise: true,
  limits: LIMITS,
})

export function newDrafter(texts: readonly TextSource[] = [parrot], limits = LIMITS): Handlers {
  const names = [...texts.map(({ name }) => name), 'ahead']
  const sources = { texts, medusa: undefined, models: [], names, hidden: 0 }
  const drafting = createDrafting({ sources, calibration: createCalibration(names), ahead: false })
  return drafterHandlers({ ...partsOf(drafting, names), limits })
}

export type Entry = Body<'draft.propose'>['entries'][number]

interface Update extends Partial<Omit<Entry, 'tokens'>> {
  readonly tokens: readonly number[]
  readonly scope?: string
}

export const startIn = (scope: string): NonNullable<Entry['start']> => ({
  promptLength: 1,
  choice: 0,
  sampling: { ...NEUTRAL_SAMPLING, logitBias: [], endTokenIds: [], seed: '7' },
  scope,
})

/** An entry for the sequence `s`, with a start where it is from 0 on. */
export function entryOf({ tokens, scope = '', ...some }: Update): Entry {
  const from = some.from ?? 0
  return { sequence: 's', from, ...(from === 0 && { start: startIn(scope) }), ...some, tokens: packI32(tokens) }
}

const proposal = (entries: readonly Entry[], maxNodes = 4): Message => ({
  kind: 'draft.propose',
  step: 'step-1',
  maxNodes,
  tokensPerMs: 0,
  price: 0,
  entries: [...entries],
})

export async function ask(handlers: Handlers, entries: readonly Entry[], maxNodes?: number) {
  const message = proposal(entries, maxNodes)
  assert.ok(message.kind === 'draft.propose')
  const answer = await handlers['draft.propose']?.(message, CONTEXT)
  return MESSAGE_SCHEMAS['draft.trees'].parse(answer)
}

export async function propose(handlers: Handlers, updates: readonly Update[], maxNodes?: number) {
  const { step, sources, entries } = await ask(handlers, updates.map(entryOf), maxNodes)
  assert.equal(step, 'step-1')
  return entries.map((entry) => {
    const bits = [...readI32(entry.sources, 'sources')]
    return {
      sequence: entry.sequence,
      resend: entry.resend,
      tokens: [...readI32(entry.tokens, 'tokens')],
      parents: [...readI32(entry.parents, 'parents')],
      numValues: readF32(entry.values, 'values').length,
      sources: bits.map((bit) => sources.filter((_, i) => (bit >> i) & 1)),
    }
  })
}

/** The sequence, tokens and request to send again of each answer. */
export async function proposeOne(handlers: Handlers, update: Update, maxNodes?: number) {
  const [tree] = await propose(handlers, [update], maxNodes)
  assert.ok(tree !== undefined)
  return { resend: tree.resend, tokens: tree.tokens }
}

export const forget = async (handlers: Handlers, ...sequences: string[]): Promise<void> => {
  await handlers['draft.forget']?.({ kind: 'draft.forget', sequences }, CONTEXT)
}

/** Drafts nothing and shows the tasks it gets. */
export function recordingDrafting(onTask: (task: DraftTask) => void): Drafting {
  return {
    propose: (tasks) => {
      tasks.forEach(onTask)
      const one = { parents: Int32Array.of(-1), values: Float32Array.of(1), sources: Int32Array.of(0) }
      return tasks.map(({ sequence }) => ({ ...one, tokens: sequence.committed.slice(-1) }))
    },
    ahead: () => false,
    forget: () => undefined,
    clear: () => undefined,
  }
}
