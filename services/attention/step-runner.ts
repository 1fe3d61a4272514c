// Runs one `attention.step`: commit, forward, sample. It owns the sequences; the actor around it owns nothing.
//
// Invariants
//   R1  A step that fails changes no committed state: sequences keep their epoch's tail, and a retry gives the same bits.
//   R2  An entry that cannot run (gap, bad tree, no KV room) fails alone; the others go on.

import type { ActorSystem } from '../../lib/actor/actor.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import { linkedSignal, type LinkedSignal, type StopSignal } from '../../lib/actor/linked-signal.js'
import { ClusterError } from '../../lib/errors.js'
import type { Body, MessageOf, StepEntry } from '../../lib/wire/messages.js'
import { packI32 } from '../../lib/wire/tensor.js'
import type { AttentionEngine } from '../../lib/decode/attention-engine.js'
import type { DispatchContext } from './dispatch-context.js'
import type { ExpertPeers } from './expert-peers.js'
import { createExpertRows, type ExpertRows } from './expert-rows.js'
import { createHeldSequences } from './held-sequences.js'
import type { OpenLayerSpan } from './layer-spans.js'
import { sampleAll, type Ready, type StepResult } from './sample-step.js'
import { createStepOrder } from './step-order.js'
import { createStepRoutes } from './step-routes.js'
import { createStepTimes } from './step-times.js'
import { advance, openSequence, type SequenceState } from './sequence-state.js'

export interface StepRunner {
  run(step: MessageOf<'attention.step'>, options: StepOptions): Promise<Body<'attention.sampled'>>
  /** Forgets sequences and aborts the running step where nobody else waits for it; returns the workers to tell. */
  cancel(sequences: readonly string[]): CancelledStep | undefined
  /** The same for all sequences of an incarnation of a router that is gone. */
  disown(owner: string): CancelledStep | undefined
  readonly numSequences: number
  readonly numTokens: number
  readonly expertRows: ExpertRows
}

export interface StepOptions {
  readonly timeoutMs: number
  readonly signal: StopSignal
  readonly traceparent?: string | undefined
  readonly openLayer?: OpenLayerSpan | undefined
}

export interface CancelledStep {
  readonly step: string
  readonly workers: readonly string[]
}

interface RunningStep {
  readonly id: string
  readonly abort: LinkedSignal
  readonly waiting: Set<string> // its sequences that nobody cancelled
  readonly used: Set<string>
}

export interface StepRunnerOptions {
  readonly engine: AttentionEngine
  readonly system: ActorSystem
  readonly kvTokens: number
  readonly peers: ExpertPeers
  readonly neighbours: ExpertNeighbours
  readonly microBatches: number // 1 or 2
}

export function createStepRunner(runnerOptions: StepRunnerOptions): StepRunner {
  const { engine, system, kvTokens, peers, neighbours, microBatches } = runnerOptions
  const held = createHeldSequences(system.clock, kvTokens)
  const { spec, plan } = engine
  const expertRows = createExpertRows(plan, spec.layers.length)
  const limits = { vocabSize: spec.vocabSize, maxPositions: spec.maxPositions }
  const stepOrder = createStepOrder()
  let running: RunningStep | undefined

  const open = (sequence: string, start: NonNullable<StepEntry['start']>): SequenceState => {
    held.forget(sequence) // a start that is tried again begins anew
    return openSequence(start, engine, held.all)
  }

  const prepare = (entry: StepEntry): SequenceState => {
    const state = entry.start && entry.epoch === 0 ? open(entry.sequence, entry.start) : held.all.get(entry.sequence)
    if (state === undefined) {
      throw new ClusterError('failed_precondition', `sequence ${entry.sequence}: not held here; start it at epoch 0`)
    }
    held.name(entry.sequence, state)
    const source = entry.start?.prefix?.sequence
    const sharer = source === undefined ? undefined : held.all.get(source)
    if (source !== undefined && sharer !== undefined) held.name(source, sharer)
    try {
      advance(state, entry, limits)
      held.makeRoom(state.tail.tokens.length)
    } catch (error) {
      if (entry.start !== undefined) held.forget(entry.sequence) // its pages, too: nothing of it was computed
      throw error
    }
    return state
  }

  const run: StepRunner['run'] = async (step, options) => {
    stepOrder.check(step)
    const times = createStepTimes(system.clock, spec.layers.length)
    for (const sequence of step.release) held.forget(sequence)
    const results: StepResult[] = []
    const ready: Ready[] = []
    for (const entry of step.entries) {
      const result = emptyResult(entry)
      results.push(result)
      try {
        ready.push({ state: prepare(entry), entry, result })
        if (step.owner !== undefined) held.own(entry.sequence, step.owner.incarnation)
      } catch (error) {
        result.error = ClusterError.from(error).toWire()
      }
    }
    const abort = linkedSignal([options.signal])
    const numRows = ready.reduce((sum, { state }) => sum + state.tail.tokens.length, 0)
    const context: DispatchContext = {
      system,
      neighbours,
      peers,
      step: step.step,
      replicas: step.replicas,
      plan,
      timeoutMs: options.timeoutMs,
      microBatches,
      signal: abort.signal,
      traceparent: options.traceparent,
      openLayer: options.openLayer,
      routes: step.wantsRoutes === true ? createStepRoutes(spec, numRows) : undefined,
      failed: new Set(),
      slow: new Set(peers.beginStep(step.replicas)),
      used: new Set(),
      counters: { distinctExperts: 0, expertRows },
    }
    running = {
      id: step.step,
      abort,
      waiting: new Set(step.entries.map((entry) => entry.sequence)),
      used: context.used,
    }
    held.beginStep()
    try {
      const logits =
        ready.length === 0 ? undefined : await sampleAll(engine, ready, { context, times, withLogits: step.withLogits })
      return {
        step: step.step,
        entries: results,
        slow: [...peers.avoided()],
        expertCalls: context.used.size,
        ...times.totals(),
        distinctExperts: context.counters.distinctExperts,
        ...(step.wantsExpertRows === true && { expertRows: expertRows.totals() }),
        ...(step.wantsLayerTimes === true && { layerTimes: times.perLayer() }),
        ...(logits && { logits }),
      }
    } finally {
      abort.release()
      running = undefined
      held.endStep()
    }
  }

  const cancel: StepRunner['cancel'] = (cancelled) => {
    for (const sequence of cancelled) {
      held.forget(sequence)
      running?.waiting.delete(sequence)
    }
    if (running === undefined || running.waiting.size > 0 || running.abort.signal.aborted) return undefined
    running.abort.abort()
    return { step: running.id, workers: [...running.used] }
  }

  return {
    run,
    cancel,
    expertRows,
    disown: (owner) => {
      stepOrder.forget(owner)
      return cancel(held.ownedBy(owner))
    },
    get numSequences() {
      return held.all.size
    },
    get numTokens() {
      return held.numTokens
    },
  }
}

const emptyResult = (entry: StepEntry): StepResult => ({
  sequence: entry.sequence,
  epoch: entry.epoch,
  tokens: packI32([]),
  logprobs: [],
})
