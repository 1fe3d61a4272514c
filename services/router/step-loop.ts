// The one loop that drives everything, one per attention worker:
//
//     schedule → propose → forward → verify → commit → emit
//
// A token is decided in `forward` (the ordinary sampler at every tree node, on the attention worker) and chosen in
// `verify` (pure). Everything else moves it.
//
// Invariants
//   N1  A step that fails is retried with the same epochs, so nothing is committed twice (I2).
//   N2  Sequences of a lost worker are prefilled elsewhere from their tokens (I1 makes the rest the same).
//   N3  No wait without a deadline (I5).

import type { ActorSystem, Clock } from '../../lib/actor/actor.js'
import type { Tracer } from '@opentelemetry/api'
import { askWhileAlive } from '../../lib/actor/ask-while-alive.js'
import { ClusterError } from '../../lib/errors.js'
import { inSpan } from '../../lib/tracing/spans.js'
import type { Body, StepEntry } from '../../lib/wire/messages.js'
import { packI32, readI32 } from '../../lib/wire/tensor.js'
import type { Membership } from './membership.js'
import type { PlacementManager } from './placement-manager.js'
import { chooseReplicas } from './placement.js'
import type { Proposer } from './proposer.js'
import type { Scheduler } from './scheduler.js'
import { isDecoding, numOutput, type Rows, type Sequence } from './sequence.js'
import { createStepCost, type StepCost } from './step-cost.js'
import { verify } from './verify.js'

export const STEP_TIMEOUT_MS = 60_000
const RECOVERY_MS = 30_000 // how long a step waits for lost experts to come back
const RETRY_MS = 50
const MAX_RESTARTS = 20

export interface StepLoopOptions {
  readonly worker: string
  readonly scheduler: Scheduler
  readonly proposer: Proposer
  readonly placement: PlacementManager
  readonly membership: Membership
  readonly system: ActorSystem
  readonly clock: Clock
  readonly tracer: Tracer
  readonly newStepId: () => string
  /** The worker is lost: its sequences must go elsewhere. */
  readonly onWorkerLost: () => void
  readonly onStep: (step: StepReport) => void
}

export interface StepReport {
  readonly drafted: number
  readonly accepted: number
  readonly sequences: number
  readonly rows: number
  readonly emitted: number
  readonly durationMs: number
}

export interface StepLoop {
  /** Starts a step when there is work and none is under way. */
  kick(): void
  stop(): void
}

type Sampled = Body<'attention.sampled'>
interface Verified {
  readonly rows: Rows
  readonly acceptedNodes: readonly number[]
  readonly tokens: readonly number[]
  readonly logprobs: Sampled['entries'][number]['logprobs']
}

export function createStepLoop(options: StepLoopOptions): StepLoop {
  const { scheduler, proposer } = options
  const cost = createStepCost()
  let isRunning = false
  let isKicked = false // work came while the loop was looking for some
  let isStopped = false

  const step = async (): Promise<boolean> => {
    const planned = scheduler.schedule()
    const released = scheduler.takeReleased()
    if (planned.length === 0 && released.length === 0) return false
    proposer.forget(released)
    const started = performance.now()
    // A step serves many requests: its span hangs under the first one's.
    const parent = planned[0]?.sequence.traceparent
    await inSpan(options.tracer, 'router.step', parent, async (traceparent, span) => {
      const id = options.newStepId()
      const rows = await propose({ ...options, cost }, id, planned)
      const sampled = await forward(options, { id, rows, released, traceparent })
      if (isStopped) return // the worker was given up meanwhile: its sequences run elsewhere, this answer is late (N2)
      const verified = sampled.flatMap(({ rows: entry, result }) => verifyEntry(options, entry, result))
      for (const entry of verified) commit(entry)
      const emitted = verified.reduce((sum, entry) => sum + emit(options, entry), 0)
      const drafts = verified.filter(({ rows: { sampled: nodes } }) => nodes.length > 1)
      const report = {
        sequences: rows.length,
        rows: countRows(rows),
        emitted,
        drafted: drafts.reduce((sum, { rows: { tree } }) => sum + tree.tokens.length - 1, 0),
        accepted: drafts.reduce((sum, { acceptedNodes }) => sum + acceptedNodes.length - 1, 0),
        durationMs: performance.now() - started,
      }
      span.setAttributes({ 'banyan.step.sequences': report.sequences, 'banyan.step.rows': report.rows })
      if (rows.length > 0 && rows.every(({ sampled: nodes }) => nodes.length > 0)) cost.observe(report)
      options.onStep(report)
    })
    return true
  }

  const run = async (): Promise<void> => {
    isRunning = true
    while (isKicked && !isStopped) {
      isKicked = false
      try {
        if (await step()) isKicked = true
      } catch (error) {
        if (!isStopped) recover(options, error)
        isKicked = true
      }
    }
    isRunning = false
  }

  return {
    kick: () => {
      isKicked = true
      if (!isRunning && !isStopped) void run()
    },
    stop: () => {
      isStopped = true
    },
  }
}

const countRows = (rows: readonly Rows[]): number => rows.reduce((sum, { tree }) => sum + tree.tokens.length, 0)

async function propose(
  { scheduler, proposer, cost }: StepLoopOptions & { readonly cost: StepCost },
  id: string,
  planned: readonly Rows[],
): Promise<Rows[]> {
  const decoding = planned.filter(({ sequence }) => isDecoding(sequence)).map(({ sequence }) => sequence)
  const budget = { maxNodes: scheduler.treeBudget(planned), price: cost.price(decoding.length) }
  const trees = await proposer.propose(id, decoding, budget)
  return planned
    .filter(({ sequence }) => !sequence.emitter.isClosed)
    .map((rows) => {
      const tree = trees.get(rows.sequence)
      return tree === undefined ? rows : scheduler.widen(rows, tree)
    })
}

interface Forward {
  readonly id: string
  readonly rows: readonly Rows[]
  readonly released: readonly string[]
  readonly traceparent: string | undefined
}

async function forward(options: StepLoopOptions, { id, rows, released, traceparent }: Forward) {
  const giveUpMs = options.clock.now() + RECOVERY_MS
  const entries = rows.map(stepEntry)
  for (;;) {
    const { placement, membership, system } = options
    const replicas = chooseReplicas(placement.table, (worker) => membership.isLive(worker))
    const body = { step: id, tableEpoch: placement.epoch, replicas, entries, release: [...released], withLogits: false }
    try {
      const sampled = await askWhileAlive(
        system,
        options.worker,
        { kind: 'attention.step', body, replyKind: 'attention.sampled' },
        { timeoutMs: STEP_TIMEOUT_MS, ...(traceparent === undefined ? {} : { traceparent }) },
      )
      return rows.flatMap((planned, i) => {
        const result = sampled.entries[i]
        return result === undefined ? [] : [{ rows: planned, result }]
      })
    } catch (error) {
      const { reason, shard } = ClusterError.from(error).details
      const isLostExpert = reason === 'EXPERT_UNAVAILABLE'
      const isLostBroker = reason === 'DISCONNECTED'
      if ((!isLostExpert && !isLostBroker) || options.clock.now() > giveUpMs) throw error
      // Nobody answered for this shard: its holders get no more work until they are heard of again.
      if (isLostExpert) for (const holder of placement.table[Number(shard)] ?? []) membership.suspect(holder)
      if (isLostExpert) placement.distrust()
      await new Promise<void>((resolve) => options.clock.after(RETRY_MS, resolve))
    }
  }
}

function stepEntry({ sequence, tree, sampled }: Rows): StepEntry {
  const { seed, logitBias, endTokenIds, ...sampling } = sequence.sampling
  const start = {
    promptLength: sequence.promptLength,
    choice: sequence.choice,
    sampling: {
      ...sampling,
      seed: seed.toString(),
      logitBias: logitBias.map(([token, bias]): [number, number] => [token, bias]),
      endTokenIds: [...endTokenIds],
    },
  }
  return {
    sequence: sequence.id,
    epoch: sequence.epoch,
    base: sequence.base,
    accepted: packI32(sequence.accepted),
    tokens: packI32(tree.tokens),
    parents: packI32(tree.parents),
    sampled: packI32(sampled),
    ...(sequence.epoch === 0 ? { start } : {}),
  }
}

/** What the target agreed with; an entry that failed alone is recomputed, or fails its request. */
function verifyEntry({ scheduler }: StepLoopOptions, rows: Rows, result: Sampled['entries'][number]): Verified[] {
  const { sequence, tree } = rows
  if (sequence.emitter.isClosed) {
    scheduler.remove(sequence)
    return []
  }
  if (result.error !== undefined) {
    if (sequence.restarts < MAX_RESTARTS) scheduler.requeue(sequence)
    else fail(scheduler, sequence, new ClusterError('internal', result.error.message))
    return []
  }
  const samples = readI32(result.tokens, 'samples')
  if (!isDecoding(sequence)) {
    const acceptedNodes = Array.from(tree.tokens, (_, node) => node)
    return [{ rows, acceptedNodes, tokens: [...samples], logprobs: result.logprobs }]
  }
  const { acceptedNodes, tokens } = verify(tree, samples, (token) => sequence.limits.endTokenIds.has(token))
  const logprobs = result.logprobs.length === 0 ? [] : acceptedNodes.flatMap((node) => result.logprobs[node] ?? [])
  return [{ rows, acceptedNodes, tokens, logprobs }]
}

/** The accepted path is committed on the worker by the next step's frame; here it is only noted. */
function commit({ rows: { sequence }, acceptedNodes }: Verified): void {
  sequence.base += acceptedNodes.length
  sequence.accepted = acceptedNodes
  sequence.epoch += 1
  sequence.stats.steps += 1
}

function emit({ scheduler }: StepLoopOptions, { rows, acceptedNodes, tokens, logprobs }: Verified): number {
  const { sequence, tree } = rows
  if (tokens.length === 0) return 0
  if (rows.sampled.length > 1) {
    sequence.stats.drafted += tree.tokens.length - 1
    sequence.stats.accepted += acceptedNodes.length - 1
  }
  const room = sequence.limits.maxTokens - numOutput(sequence)
  const kept = tokens.slice(0, room)
  sequence.tokens.push(...kept)
  const ending = sequence.emitter.push(kept, logprobs.slice(0, room))
  if (ending !== undefined) {
    scheduler.remove(sequence)
    sequence.emitter.finish(ending, sequence.stats)
  }
  return kept.length
}

function fail(scheduler: Scheduler, sequence: Sequence, error: ClusterError): void {
  scheduler.remove(sequence)
  sequence.emitter.fail(error)
}

/** A failed step: a lost worker's sequences go elsewhere; anything else ends the requests of the step with the error. */
function recover(options: StepLoopOptions, error: unknown): void {
  const failure = ClusterError.from(error)
  const isLost = failure.code === 'unavailable' || failure.code === 'deadline_exceeded'
  if (isLost && failure.details.reason !== 'EXPERT_UNAVAILABLE') {
    options.membership.suspect(options.worker)
    options.onWorkerLost()
    return
  }
  for (const sequence of [...options.scheduler.running]) {
    if (sequence.emitter.isClosed) options.scheduler.remove(sequence)
    else if (failure.code === 'cancelled') options.scheduler.requeue(sequence)
    else fail(options.scheduler, sequence, failure)
  }
}
