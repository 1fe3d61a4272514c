// The attention workers that this router drives: one scheduler and one step loop each, made when a worker becomes
// live and taken apart when it is lost or drains. Its sequences then move to another worker, or wait for one to come.

import type { Tracer } from '@opentelemetry/api'
import { controlAddress } from '../../lib/actor/ask-while-alive.js'
import type { ActorSystem } from '../../lib/actor/actor.js'
import type { Logger, RouterOptions } from '../../lib/config/service.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import type { Backlog } from './admission.js'
import type { CostModel } from './cost-model.js'
import { createDrainRate } from './drain-rate.js'
import { createHomeless } from './homeless.js'
import { BLOCK_TOKENS } from './kv-blocks.js'
import type { Membership } from './membership.js'
import type { SequenceEvents } from './metrics/sequence-metrics.js'
import { createPace } from './pace.js'
import type { PlacementManager } from './placement-manager.js'
import type { Proposer } from './proposer.js'
import { createScheduler, type Scheduler } from './scheduler.js'
import type { Sequence } from './sequence.js'
import { createStepLoop, type StepLoop } from './step-loop.js'
import type { StepWatch } from './console/gathering.js'
import type { StepReport } from './step-report.js'

interface Worker {
  readonly id: string
  readonly incarnation: string
  readonly kvTokens: number
  readonly scheduler: Scheduler
  readonly loop: StepLoop
  isDraining: boolean // gets no new sequence; those that it has go when its step has ended
}

const MAX_LOST = 64 // workers whose sequences are remembered

/** What a lost worker held: should it only have been silent, it is told to forget it when it is back. */
interface Lost {
  readonly incarnation: string
  readonly held: readonly string[]
}

export interface AttentionWorkers extends Backlog {
  readonly count: number
  readonly numRunning: number
  readonly numWaiting: number // those without a worker and parked ones included
  readonly numParked: number
  waiting(): readonly Sequence[]
  readonly kvUsage: number // 0 … 1
  readonly kvBlocks: { readonly used: number; readonly kept: number; readonly capacity: number }
  /**
   * KV capacity of the smallest worker, in tokens; 0 while there is none. Not this router's share of it: what a request
   * may ask for does not depend on how many routers there are.
   */
  readonly kvTokens: number
  submit(sequences: readonly Sequence[]): void
  /** Takes a sequence out of whatever it is in and tells its worker. */
  cancel(sequences: readonly Sequence[]): void
  /** Some sequences can go on: look again. */
  kick(): void
  anyWorker(): string | undefined
  /** Others serve from now on: nothing that these computed is used any more. */
  reset(): void
  stop(): void
}

export interface WorkersOptions {
  readonly system: ActorSystem
  readonly tracer: Tracer
  readonly logger: Logger
  readonly membership: Membership
  readonly placement: PlacementManager
  readonly proposer: Proposer
  readonly limits: RouterOptions
  readonly costModel: (worker: Heartbeat) => CostModel
  readonly accepts: (worker: Heartbeat) => boolean
  readonly owner: { readonly router: string; readonly incarnation: string } // this process
  readonly newStepId: () => string
  readonly onStep: (report: StepReport) => void
  readonly watch?: StepWatch | undefined
  readonly wantsLayerTimes?: (() => boolean) | undefined
  readonly events?: SequenceEvents | undefined
}

export function createAttentionWorkers(options: WorkersOptions): AttentionWorkers {
  const { system, membership, limits } = options
  const workers = new Map<string, Worker>()
  const homeless = createHomeless(system.clock)
  const drainRate = createDrainRate()
  const lost = new Map<string, Lost>() // by id, longest ago first

  /** Each router uses an equal part of a worker's KV. Where they disagree about their number the worker refuses. */
  const shareKv = (): void => {
    const numRouters = Math.max(1, membership.live('router').length)
    for (const { scheduler, kvTokens, loop } of workers.values()) {
      scheduler.resize(Math.floor(kvTokens / numRouters))
      loop.kick()
    }
  }

  const join = (heartbeat: Heartbeat): void => {
    const cost = options.costModel(heartbeat)
    const schedulerLimits = {
      kvTokens: heartbeat.capacity.kvTokens,
      maxRunning: limits.maxRunning,
      tokenBudget: limits.tokenBudget,
      prefillChunk: limits.prefillChunk,
      maxTreeNodes: limits.maxTreeNodes,
      prefixCache: limits.prefixCache,
    }
    const scheduler = createScheduler(schedulerLimits, createPace(cost, limits.stepTargetMs), {
      now: () => system.clock.monotonicMs(),
      onAdmitted: ({ tokens, base, emitter }) => {
        drainRate.admitted(numWaiting(), system.clock.monotonicMs())
        if (!emitter.isPaused) options.events?.admitted(tokens.length, base)
      },
      onPreempted: () => options.events?.preempted(),
    })
    const loop = createStepLoop({
      ...options,
      worker: heartbeat.id,
      scheduler,
      cost,
      isTypical: options.limits.acceptance === 'typical',
      draftPrice: options.limits.draftPrice,
      tellsTokens: ['ids', 'text'].includes(options.limits.traceContent ?? ''),
      clock: system.clock,
      stale: takeStale(heartbeat),
      onWorkerLost: () => leave(heartbeat.id, 'lost'),
    })
    workers.set(heartbeat.id, {
      id: heartbeat.id,
      incarnation: heartbeat.incarnation,
      kvTokens: heartbeat.capacity.kvTokens,
      scheduler,
      loop,
      isDraining: false,
    })
    submit(homeless.takeAll())
  }

  const takeStale = ({ id, incarnation }: Heartbeat): readonly string[] => {
    const before = lost.get(id)
    lost.delete(id)
    return before?.incarnation === incarnation ? before.held : []
  }

  const leave = (id: string, why: 'lost' | 'draining' | 'class'): void => {
    const worker = workers.get(id)
    if (worker === undefined) return
    options.logger.warn({ worker: id, why }, 'attention worker leaves; its sequences are prefilled elsewhere')
    workers.delete(id)
    worker.loop.stop()
    const sequences = worker.scheduler.takeAll()
    // It may only have been silent for a while: what it still holds would never be released.
    const held = worker.scheduler.takeReleased()
    lost.set(id, { incarnation: worker.incarnation, held })
    for (const oldest of lost.keys()) if (lost.size > MAX_LOST) lost.delete(oldest)
    if (held.length > 0) system.tell(controlAddress(id), 'sequence.cancel', { sequences: held })
    const open = sequences.filter((sequence) => !sequence.emitter.isClosed)
    for (const { watch } of open) watch?.note('banyan.moved', { 'banyan.worker': id, 'banyan.reason': why })
    options.events?.moved(open.length, why)
    submit(open)
  }

  const drain = async (worker: Worker): Promise<void> => {
    if (worker.isDraining) return
    worker.isDraining = true
    await worker.loop.finish()
    if (workers.get(worker.id) === worker) leave(worker.id, 'draining')
  }

  const refresh = (): void => {
    const live = membership.live('attention').filter(options.accepts)
    const draining = membership.members('attention').filter(({ duty }) => duty === 'draining')
    const isOf =
      ({ id, incarnation }: Worker) =>
      (heartbeat: Heartbeat) =>
        heartbeat.id === id && heartbeat.incarnation === incarnation
    for (const worker of [...workers.values()]) {
      if (draining.some(({ heartbeat }) => isOf(worker)(heartbeat))) void drain(worker)
      else if (!live.some(isOf(worker))) leave(worker.id, 'lost')
    }
    for (const heartbeat of live) if (!workers.has(heartbeat.id)) join(heartbeat)
    shareKv()
  }

  /** The worker with the least to do: its sequences, and what it would have to prefill of the tokens, in chunks. */
  const lightest = (tokens: readonly number[] = []): Worker | undefined => {
    const load = ({ scheduler }: Worker): number =>
      scheduler.running.length + scheduler.numWaiting + (tokens.length - scheduler.cached(tokens)) / limits.prefillChunk
    const open = [...workers.values()].filter(({ isDraining }) => !isDraining)
    return open.reduce<Worker | undefined>(
      (best, worker) => (best === undefined || load(worker) < load(best) ? worker : best),
      undefined,
    )
  }

  const submit = (sequences: readonly Sequence[]): void => {
    for (const sequence of sequences) {
      const worker = lightest(sequence.tokens)
      if (worker === undefined) homeless.add(sequence)
      else worker.scheduler.enqueue(sequence)
    }
    kick()
  }

  const kick = (): void => {
    for (const { loop } of workers.values()) loop.kick()
  }

  const cancel = (sequences: readonly Sequence[]): void => {
    homeless.remove(sequences)
    for (const { id, scheduler, loop } of workers.values()) {
      const here = sequences.filter((sequence) => scheduler.has(sequence))
      for (const sequence of here) scheduler.remove(sequence)
      if (here.length > 0) {
        system.tell(controlAddress(id), 'sequence.cancel', { sequences: here.map((sequence) => sequence.id) })
        loop.kick()
      }
    }
  }

  const sum = (value: (worker: Worker) => number): number =>
    [...workers.values()].reduce((total, worker) => total + value(worker), 0)

  const numParked = (): number => sum(({ scheduler }) => scheduler.parked.length)
  const numWaiting = (): number =>
    homeless.sequences.length + numParked() + sum(({ scheduler }) => scheduler.numWaiting)

  membership.onChange(refresh)

  return {
    get count() {
      return workers.size
    },
    get numRunning() {
      return sum(({ scheduler }) => scheduler.running.length)
    },
    get numWaiting() {
      return numWaiting()
    },
    get numParked() {
      return numParked()
    },
    waiting: () => [
      ...homeless.sequences,
      ...[...workers.values()].flatMap(({ scheduler }) => [...scheduler.parked, ...scheduler.waiting]),
    ],
    msToAdmit: (count) => drainRate.msFor(count, system.clock.monotonicMs()),
    get kvUsage() {
      const capacity = sum(({ scheduler }) => scheduler.blocks.capacity)
      return capacity === 0 ? 0 : Math.min(1, sum(({ scheduler }) => scheduler.blocks.used) / capacity)
    },
    get kvBlocks() {
      return {
        used: sum(({ scheduler }) => scheduler.blocks.used),
        kept: sum(({ scheduler }) => scheduler.blocks.kept),
        capacity: sum(({ scheduler }) => scheduler.blocks.capacity),
      }
    },
    get kvTokens() {
      const capacities = [...workers.values()].map(({ scheduler }) => scheduler.blocks.whole * BLOCK_TOKENS)
      return capacities.length === 0 ? 0 : Math.min(...capacities)
    },
    submit,
    cancel,
    kick,
    anyWorker: () => lightest()?.id,
    reset: () => {
      for (const id of [...workers.keys()]) leave(id, 'class')
      refresh()
    },
    stop: () => {
      for (const { loop } of workers.values()) loop.stop()
      homeless.stop()
    },
  }
}
