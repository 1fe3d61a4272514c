// An attention worker without a model: the real sequence states (epochs, commits, trees) and the real actor runtime, with
// a target that computes the next token from the tokens before it. Faults are injected where a test asks for them.

import { createActorSystem } from '../../../lib/actor/system.js'
import { systemClock } from '../../../lib/actor/clock.js'
import { controlAddress } from '../../../lib/actor/ask-while-alive.js'
import { pingActor } from '../../../lib/actor/ping.js'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { KvCache } from '../../../lib/decode/kv-cache.js'
import { ClusterError } from '../../../lib/errors.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import type { MessageOf, StepEntry } from '../../../lib/wire/messages.js'
import { packI32 } from '../../../lib/wire/tensor.js'
import { advance, createPaths, openSequence, type SequenceState } from '../../../services/attention/sequence-state.js'

export const VOCAB = 23

/** The token after these: every one of them and its place counts. */
export const toyTarget = (tokens: ArrayLike<number>): number =>
  Array.from(tokens).reduce((hash, token) => (hash * 31 + token + 1) % 10_007, 7) % VOCAB

/** What plain decoding gives. */
export function plainTokens(prompt: readonly number[], count: number): number[] {
  const tokens = [...prompt]
  while (tokens.length < prompt.length + count) tokens.push(toyTarget(tokens))
  return tokens.slice(prompt.length)
}

export interface ToyFaults {
  /** Thrown after the step has changed every state: what its asker never hears of. */
  readonly afterStep?: (step: MessageOf<'attention.step'>) => ClusterError | undefined
  /** An entry that is refused before it changes anything. */
  readonly refuse?: (entry: StepEntry) => boolean
  /** The same for want of room. */
  readonly isFull?: (entry: StepEntry) => boolean
}

export interface ToyAttention {
  readonly system: ActorSystem
  readonly held: ReadonlyMap<string, SequenceState>
  readonly steps: readonly MessageOf<'attention.step'>[]
  stop(): Promise<void>
}

export function startToyAttention(address: string, faults: ToyFaults = {}): ToyAttention {
  const transport = createLocalTransport({ hub: createLocalHub() })
  const system = createActorSystem({
    transport,
    clock: systemClock,
    random: Math.random,
    cluster: 'test',
    node: 'test',
  })
  const held = new Map<string, SequenceState>()
  const steps: MessageOf<'attention.step'>[] = []
  const limits = { vocabSize: VOCAB, maxPositions: 10_000 }
  const pool = {
    kernels: sharedKernels(1),
    layers: [{ numKvHeads: 1, headDim: 8, valueDim: 8 }],
    format: 'f32' as const,
  }

  const answer = (entry: StepEntry) => {
    const result = { sequence: entry.sequence, epoch: entry.epoch, tokens: packI32([]), logprobs: [] }
    try {
      if (faults.refuse?.(entry) === true) throw new ClusterError('failed_precondition', 'refused by the test')
      if (faults.isFull?.(entry) === true) throw new ClusterError('resource_exhausted', 'full, says the test')
      const state = entry.start
        ? openSequence(entry.start, { openCache: () => new KvCache(pool) }, held)
        : held.get(entry.sequence)
      if (state === undefined) throw new ClusterError('failed_precondition', 'not held here')
      advance(state, entry, limits)
      held.set(entry.sequence, state)
      state.isTailComputed = true
      const pathTo = createPaths(state)
      return { ...result, tokens: packI32(state.tail.sampled.map((node) => toyTarget(pathTo(node)))) }
    } catch (error) {
      return { ...result, error: ClusterError.from(error).toWire() }
    }
  }

  system.spawn({
    address,
    mailboxCapacity: 64,
    systemKinds: new Set(),
    create: () => ({
      'attention.step': (step) => {
        steps.push(step)
        for (const sequence of step.release) held.delete(sequence)
        const entries = step.entries.map(answer)
        const error = faults.afterStep?.(step)
        if (error !== undefined) throw error
        const times = { computeMs: 0, expertWaitMs: 0 } // of an older worker: the others came later
        return { kind: 'attention.sampled', step: step.step, entries, expertCalls: 0, ...times }
      },
    }),
  })
  system.spawn(pingActor(address))
  system.spawn({
    address: controlAddress(address),
    mailboxCapacity: 64,
    systemKinds: new Set(),
    create: () => ({
      'sequence.cancel': ({ sequences }) => sequences.forEach((sequence) => held.delete(sequence)),
    }),
  })
  return {
    system,
    held,
    steps,
    stop: async () => {
      await system.stop()
      await transport.close()
    },
  }
}
