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

import type { Tracer } from '@opentelemetry/api'
import { ClusterError } from '../../lib/errors.js'
import { readI32 } from '../../lib/wire/tensor.js'
import type { CostModel } from './cost-model.js'
import { forward, type EntryResult, type ForwardOptions } from './forward.js'
import { keepHidden } from './hidden-backlog.js'
import type { Proposer } from './proposer.js'
import type { Scheduler } from './scheduler.js'
import { isDecoding, numOutput, type BareStepTree, type Rows, type Sequence } from './sequence.js'
import { createSpeculation, stepTree, type DraftedStep } from './speculation.js'
import { inStepSpan } from './step-span.js'
import { describeSpan, describeStep, type StepReport } from './step-report.js'
import { verify, verifyTypical } from './verify.js'
import type { StepWatch } from './console/gathering.js'

const MAX_RESTARTS = 20
const LEAST_HOLD_MS = 50 // after a worker had no room; doubled each time: half a minute in all
const MOST_HOLD_MS = 2_000

export interface StepLoopOptions extends ForwardOptions {
  readonly scheduler: Scheduler
  readonly proposer: Proposer
  readonly cost: CostModel
  readonly isTypical: boolean // lossy acceptance
  readonly draftPrice?: number | undefined
  readonly tracer: Tracer
  readonly tellsTokens?: boolean | undefined // spans have the ids of drafted tokens
  readonly newStepId: () => string
  /** What the worker may hold of a time before this loop: it is told with the first step. */
  readonly stale: readonly string[]
  /** The worker is lost: its sequences must go elsewhere. */
  readonly onWorkerLost: () => void
  readonly onStep: (step: StepReport) => void
  readonly watch?: StepWatch | undefined // for consoles
  /** Somebody looks at single layers: the reports of steps that begin now tell of them. */
  readonly wantsLayerTimes?: (() => boolean) | undefined
}

export interface StepLoop {
  /** Starts a step when there is work and none is under way. */
  kick(): void
  /** No further step; resolves when the one under way has ended and its tokens are out. */
  finish(): Promise<void>
  stop(): void
}

interface Verified {
  readonly rows: Rows
  readonly acceptedNodes: readonly number[]
  readonly tokens: readonly number[]
  readonly logprobs: EntryResult['logprobs']
  readonly hidden: EntryResult['hidden']
  readonly routes: EntryResult['routes']
}

export function createStepLoop(options: StepLoopOptions): StepLoop {
  const { scheduler, proposer, cost, watch } = options
  const speculation = createSpeculation(options)
  let isRunning = false
  let isKicked = false // work came while the loop was looking for some
  let isStopped = false
  let isFinishing = false
  let running = Promise.resolve()
  let cancelWake = (): void => undefined
  let stale = [...options.stale] // what the worker may drop and has not been told

  const step = async (): Promise<boolean> => {
    const planned = scheduler.schedule()
    stale = [...stale, ...scheduler.takeReleased()]
    proposer.forget(scheduler.takeEnded())
    if (planned.length === 0 && stale.length === 0) return false
    for (const { sequence } of planned) sequence.watch?.scheduled()
    await inStepSpan(options.tracer, planned, async (traceparent, span) => {
      const started = options.clock.monotonicMs()
      const id = options.newStepId()
      const drafted = await speculation.draft({ id, traceparent }, planned)
      const { rows, shape } = drafted
      stale.push(...scheduler.takeReleased()) // what made room for trees
      if (isStopped) return // as below: a step of sequences that run elsewhere must not reach the worker
      const predictedMs = cost.predict(shape)
      // A step for nobody is not tried again: what waits behind it would wait for nothing.
      const isGivenUp = (): boolean =>
        isStopped || (rows.length > 0 && rows.every(({ sequence }) => sequence.emitter.isClosed))
      const wantsExpertRows = watch?.isOpen === true && rows.length > 0 && watch.takeDetail(options.worker)
      const wantsLayerTimes = wantsExpertRows || (options.wantsLayerTimes?.() ?? false)
      const wantsRoutes = rows.some(({ sequence }) => sequence.routes?.isWanted === true)
      const sampled = await forward(options, {
        id,
        rows,
        released: stale,
        predictedMs,
        traceparent,
        wantsLayerTimes,
        wantsExpertRows,
        wantsRoutes,
        isGivenUp,
        span,
      })
      stale = []
      if (isStopped) return // the worker was given up meanwhile: its sequences run elsewhere, this answer is late (N2)
      const verified = sampled.entries.flatMap((entry) => verifyEntry(options, entry.rows, entry.result))
      const accepted = new Map(verified.map((entry) => [entry.rows.sequence, entry.acceptedNodes]))
      const { durationMs, distinctExperts } = sampled
      speculation.learn(drafted, accepted, durationMs)
      for (const entry of verified) commit(scheduler, entry)
      const emitted = verified.reduce((sum, entry) => sum + emit(options, entry, { id, drafted, durationMs }), 0)
      const report = describeStep(drafted, accepted, {
        emitted,
        durationMs: options.clock.monotonicMs() - started,
        forwardMs: durationMs,
        worker: sampled.times,
      })
      describeSpan(span, report, { id, drafted, withTokens: options.tellsTokens ?? false })
      const isWhole = sampled.entries.every(({ result }) => result.error === undefined) // refused entries took no time
      if (isWhole) cost.observe({ shape, predictedMs, durationMs, distinctExperts })
      options.onStep(report)
      if (watch?.isOpen === true)
        watch.ended({ step: id, worker: options.worker, report, expertRows: sampled.expertRows })
    })
    return true
  }

  const run = async (): Promise<void> => {
    isRunning = true
    while (isKicked && !isStopped && !isFinishing) {
      isKicked = false
      try {
        if (await step()) isKicked = true
      } catch (error) {
        if (!isStopped) recover(options, error)
        isKicked = true
      }
    }
    isRunning = false
    cancelWake()
    const { heldMs } = scheduler
    if (heldMs !== undefined && !isStopped) cancelWake = options.clock.after(heldMs, kick)
  }

  const kick = (): void => {
    isKicked = true
    if (!isRunning && !isStopped && !isFinishing) running = run()
  }

  return {
    kick,
    finish: () => {
      isFinishing = true
      return running
    },
    stop: () => {
      isStopped = true
      cancelWake()
    },
  }
}

/** What the target agreed with; an entry that failed alone is recomputed, or fails its request. */
function verifyEntry({ scheduler }: StepLoopOptions, rows: Rows, result: EntryResult): Verified[] {
  const { sequence, tree } = rows
  if (sequence.emitter.isClosed) {
    scheduler.remove(sequence)
    return []
  }
  if (result.error !== undefined) {
    refused(scheduler, sequence, result.error)
    return []
  }
  const samples = readI32(result.tokens, 'samples')
  const { hidden, routes } = result
  if (!isDecoding(sequence)) {
    const acceptedNodes = Array.from(tree.tokens, (_, node) => node)
    return [{ rows, acceptedNodes, tokens: [...samples], logprobs: result.logprobs, hidden, routes }]
  }
  const isEnd = (token: number): boolean => sequence.limits.endTokenIds.has(token)
  const { acceptedNodes, tokens } =
    result.typical === undefined
      ? verify(tree, samples, isEnd)
      : verifyTypical(tree, samples, readI32(result.typical, 'typical'), isEnd)
  const logprobs = result.logprobs.slice(0, acceptedNodes.length) // of the sampled path, which this one begins
  return [{ rows, acceptedNodes, tokens, logprobs, hidden, routes }]
}

/**
 * A refused entry is computed again from its tokens; where the worker had no room for it (other routers use it, too),
 * after a while.
 */
function refused(scheduler: Scheduler, sequence: Sequence, error: NonNullable<EntryResult['error']>): void {
  const isFull = error.code === 'resource_exhausted'
  sequence.restarts += 1
  sequence.watch?.note('banyan.refused', { 'error.type': error.code })
  if (sequence.restarts > MAX_RESTARTS) {
    const failure = isFull
      ? new ClusterError('resource_exhausted', error.message, { details: { reason: 'KV_FULL' } })
      : new ClusterError('internal', error.message)
    fail(scheduler, sequence, failure)
    return
  }
  scheduler.refuse(sequence)
  if (isFull) scheduler.hold(Math.min(MOST_HOLD_MS, LEAST_HOLD_MS * 2 ** (sequence.restarts - 1)))
}

/** The accepted path is committed on the worker by the next step's frame; here it is only noted. */
function commit(scheduler: Scheduler, { rows: { sequence, tree }, acceptedNodes, hidden, routes }: Verified): void {
  // Rows that are certainly part of the sequence: a prefill's all, of a tree its root. Their KV can be shared from now on.
  scheduler.note(sequence, sequence.base + (isDecoding(sequence) ? 1 : tree.tokens.length))
  if (hidden !== undefined) {
    const numLeftOut = tree.tokens.length - (hidden.shape[0] ?? 0) // first rows of a prefill
    const nodes = acceptedNodes.slice(numLeftOut).map((node) => node - numLeftOut)
    sequence.hidden = keepHidden(sequence.hidden, hidden, nodes, sequence.base + numLeftOut)
  }
  sequence.routes?.keep(routes, acceptedNodes, sequence.base)
  sequence.base += acceptedNodes.length
  sequence.accepted = acceptedNodes
  sequence.epoch += 1
  sequence.stats.steps += 1
}

interface EmittedStep {
  readonly id: string
  readonly drafted: DraftedStep
  readonly durationMs: number
}

function emit({ scheduler, watch }: StepLoopOptions, verified: Verified, step: EmittedStep): number {
  const { rows, acceptedNodes, tokens, logprobs } = verified
  const { sequence } = rows
  const numNodes = rows.tree.tokens.length
  if (tokens.length === 0) return 0
  sequence.restarts = 0
  if (rows.sampled.length > 1) {
    sequence.stats.drafted += numNodes - 1
    sequence.stats.accepted += acceptedNodes.length - 1
  }
  const room = sequence.limits.maxTokens - numOutput(sequence)
  const kept = tokens.slice(0, room)
  const isDecoded = rows.sampled.length === numNodes // a prefill samples at its last row alone
  const tree = (): BareStepTree | undefined =>
    isDecoded ? stepTree(step.drafted, rows, { accepted: acceptedNodes, stepMs: step.durationMs }) : undefined
  if (watch?.isOpen === true) watch.emitted(sequence, step.id, kept, tree())
  sequence.tokens.push(...kept)
  scheduler.served(sequence, kept.length)
  const shown = sequence.returnsTrees ? tree() : undefined
  const ending = sequence.emitter.push(kept, logprobs.slice(0, room), shown)
  if (ending !== undefined) {
    scheduler.retire(sequence)
    sequence.emitter.finish(ending, sequence.stats, sequence.cachedTokens)
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
  for (const sequence of [...options.scheduler.running].reverse()) {
    // the youngest first, as each goes to the front of the queue
    if (sequence.emitter.isClosed) options.scheduler.remove(sequence)
    else if (failure.code === 'cancelled') options.scheduler.requeue(sequence)
    else fail(options.scheduler, sequence, failure)
  }
}
