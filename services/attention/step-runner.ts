// Runs one `attention.step`: commit, forward, sample. It owns the sequences; the actor around it owns nothing.
//
// Invariants
//   R1  A step that fails changes no committed state: sequences keep their epoch's tail, and a retry gives the same bits.
//   R2  An entry that cannot run (gap, bad tree, no KV room) fails alone; the others go on.

import { setMaxListeners } from 'node:events'
import type { ActorSystem } from '../../lib/actor/actor.js'
import { concat } from '../../lib/compute/concat.js'
import type { ExpertNeighbours } from '../../lib/compute/expert-call.js'
import { linkedSignal, type LinkedSignal } from '../../lib/actor/linked-signal.js'
import { ClusterError } from '../../lib/errors.js'
import { childOf, NOT_SAMPLED } from '../../lib/speculative/token-tree.js'
import { takeTypical } from '../../lib/sampling/typical.js'
import type { Body, MessageOf, StepEntry } from '../../lib/wire/messages.js'
import { packF32, packI32 } from '../../lib/wire/tensor.js'
import type { AttentionModel } from '../../lib/decode/attention-model.js'
import { geometryOf } from '../../lib/decode/attention-model.js'
import { forward } from './decoder.js'
import type { DispatchContext } from './dispatch-context.js'
import type { ExpertPeers } from './expert-peers.js'
import { createExpertRows, type ExpertRows } from './expert-rows.js'
import { createHeldSequences } from './held-sequences.js'
import type { OpenLayerSpan } from './layer-spans.js'
import type { AttentionMetrics } from './metrics.js'
import { createStepOrder } from './step-order.js'
import { createStepTimes, type StepTimes } from './step-times.js'
import { advance, createPaths, openSequence, type SequenceState } from './sequence-state.js'

type Result = Body<'attention.sampled'>['entries'][number]

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
  readonly signal: AbortSignal
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
  readonly model: AttentionModel
  readonly system: ActorSystem
  readonly kvTokens: number
  readonly peers: ExpertPeers
  readonly neighbours: ExpertNeighbours
  readonly microBatches: number // 1 or 2
  readonly metrics?: Pick<AttentionMetrics, 'retried'> | undefined
}

export function createStepRunner(runnerOptions: StepRunnerOptions): StepRunner {
  const { model, system, kvTokens, peers, neighbours, microBatches } = runnerOptions
  const held = createHeldSequences(system.clock, kvTokens)
  const expertRows = createExpertRows(model.plan, model.layers.length)
  const pool = { kernels: model.kernels, geometry: { numLayers: model.layers.length, ...geometryOf(model.spec) } }
  const limits = { vocabSize: model.spec.vocabSize, maxPositions: model.spec.maxPositions }
  const stepOrder = createStepOrder()
  let running: RunningStep | undefined

  const open = (sequence: string, start: NonNullable<StepEntry['start']>): SequenceState => {
    held.forget(sequence) // a start that is tried again begins anew
    return openSequence(start, pool, held.all)
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
    const times = createStepTimes(system.clock, model.layers.length)
    for (const sequence of step.release) held.forget(sequence)
    const results: Result[] = []
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
    setMaxListeners(0, abort.signal) // one for every expert worker that is asked
    const context: DispatchContext = {
      system,
      neighbours,
      peers,
      step: step.step,
      replicas: step.replicas,
      plan: model.plan,
      timeoutMs: options.timeoutMs,
      microBatches,
      metrics: runnerOptions.metrics,
      signal: abort.signal,
      traceparent: options.traceparent,
      openLayer: options.openLayer,
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
        ready.length === 0 ? undefined : await sampleAll(model, ready, { context, times, withLogits: step.withLogits })
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

const emptyResult = (entry: StepEntry): Result => ({
  sequence: entry.sequence,
  epoch: entry.epoch,
  tokens: packI32([]),
  logprobs: [],
})

/** An entry that can run, and its result, which is filled in. */
interface Ready {
  readonly state: SequenceState
  readonly entry: StepEntry
  readonly result: Result
}

/** Forward pass and sampling; fills the results in place and returns every row's logits where they are asked for. */
async function sampleAll(
  model: AttentionModel,
  ready: readonly Ready[],
  { context, times, withLogits }: { context: DispatchContext; times: StepTimes; withLogits: boolean },
) {
  const { vocabSize } = model.spec
  const states = ready.map(({ state }) => state)
  const last = await forward(model, states, context, times)
  for (const state of states) state.isTailComputed = true
  returnHidden(model, ready, last)
  const rows = sampledRows(states, withLogits)
  if (rows.length === 0) return undefined
  const logits = model.head.run(last, rows)
  if (withLogits) return packF32(concat(logits), [rows.length, vocabSize])
  let first = 0
  for (const one of ready) {
    const { length } = one.state.tail.sampled
    sampleTail(one, logits.slice(first, first + length))
    first += length
  }
  return undefined
}

/** The last hidden states of the rows that are wanted. */
function returnHidden({ head, spec: { hidden } }: AttentionModel, ready: readonly Ready[], last: Float32Array): void {
  let end = 0
  const wanting = ready.flatMap(({ state, entry, result }) => {
    const { length } = state.tail.tokens
    end += length
    const count = Math.min(entry.numHidden ?? 0, length)
    return count === 0 ? [] : [{ result, count, rows: last.subarray((end - count) * hidden, end * hidden) }]
  })
  if (wanting.length === 0) return
  const normed = head.norm(concat(wanting.map(({ rows }) => rows)))
  let row = 0
  for (const { result, count } of wanting) {
    result.hidden = packF32(normed.subarray(row * hidden, (row + count) * hidden), [count, hidden])
    row += count
  }
}

/**
 * The ordinary sampler at the nodes that verification can reach: from the first one to the child that carries its sample,
 * and so on; the others keep NOT_SAMPLED. The lossy rule may go elsewhere: for it every node is sampled, and judged.
 */
function sampleTail({ state, entry, result }: Ready, logits: readonly Float32Array[]): void {
  const { sampled, tokens: drafted, parents } = state.tail
  const tokens = new Int32Array(sampled.length).fill(NOT_SAMPLED)
  const placeOf = new Map(Array.from(sampled, (node, place) => [node, place]))
  const pathTo = createPaths(state)
  const takes = new Int32Array(drafted.length)

  const sampleAt = (place: number): number => {
    const context = { tokens: pathTo(sampled[place]!), promptLength: state.promptLength }
    const { token, logprobs } = state.sampler.sample(logits[place]!, context)
    if (logprobs !== undefined) result.logprobs.push({ ...logprobs, top: [...logprobs.top] })
    if (entry.typical !== undefined) {
      const children = [...drafted.keys()].filter((child) => parents[child] === sampled[place])
      const ids = children.map((child) => drafted[child]!)
      const taken = takeTypical(logits[place]!, ids, { ...entry.typical, params: state.sampling, context })
      children.forEach((child, i) => (takes[child] = taken[i]! | (ids[i] === token ? 1 : 0)))
    }
    return (tokens[place] = token)
  }

  if (entry.typical !== undefined) {
    for (const place of sampled.keys()) sampleAt(place)
    result.typical = packI32(takes)
  } else {
    for (let place: number | undefined = sampled.length > 0 ? 0 : undefined; place !== undefined;) {
      const child = childOf({ tokens: drafted, parents }, sampled[place]!, sampleAt(place))
      place = placeOf.get(child)
    }
  }
  result.tokens = packI32(tokens)
}

function sampledRows(states: readonly SequenceState[], all: boolean): number[] {
  const rows: number[] = []
  let firstRow = 0
  for (const { tail } of states) {
    if (all) for (let node = 0; node < tail.tokens.length; node++) rows.push(firstRow + node)
    else for (const node of tail.sampled) rows.push(firstRow + node)
    firstRow += tail.tokens.length
  }
  return rows
}
