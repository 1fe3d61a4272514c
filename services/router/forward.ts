// The forward call of a step: one frame to the attention worker, with the choice of replica for every shard.
//
// Invariants
//   W1  A step is tried again with the same epochs, so nothing is committed twice (I2).
//   W2  Every wait has a bound (I5): a step RECOVERY_MS for lost experts, each try STEP_TIMEOUT_MS; a worker that is
//       silent is given up as soon as its answer is overdue.

import type { Span } from '@opentelemetry/api'
import type { ActorSystem, Clock } from '../../lib/actor/actor.js'
import { askWhileAlive } from '../../lib/actor/ask-while-alive.js'
import { pause } from '../../lib/actor/until.js'
import { ClusterError } from '../../lib/errors.js'
import type { SamplingParams } from '../../lib/sampling/params.js'
import type { Body, StepEntry } from '../../lib/wire/messages.js'
import { packI32, readF32 } from '../../lib/wire/tensor.js'
import type { Membership } from './membership.js'
import type { SequenceEvents } from './metrics/sequence-metrics.js'
import type { PlacementManager } from './placement-manager.js'
import type { Rows, Sequence } from './sequence.js'

export const STEP_TIMEOUT_MS = 60_000
const RECOVERY_MS = 30_000 // how long a step waits for lost experts to come back
const RETRY_MS = 50
const OVERDUE_TIMES = 3 // of what the step should take
const FIRST_OVERDUE_MS = 10_000 // of steps of whose like nothing is known: pages are cold, code is not compiled
const LEAST_OVERDUE_MS = 1_000

export interface ForwardOptions {
  readonly worker: string
  readonly placement: PlacementManager
  readonly membership: Membership
  readonly system: ActorSystem
  readonly clock: Clock
  readonly owner: { readonly router: string; readonly incarnation: string } // this process
  readonly events?: Pick<SequenceEvents, 'retried'> | undefined
}

type Sampled = Body<'attention.sampled'>
export type EntryResult = Sampled['entries'][number]

export interface Forward {
  readonly id: string
  readonly rows: readonly Rows[]
  readonly released: readonly string[]
  readonly predictedMs: number
  readonly traceparent: string | undefined
  readonly wantsLayerTimes: boolean
  readonly wantsExpertRows: boolean
  readonly wantsRoutes: boolean
  readonly span: Span // of the step
  readonly isGivenUp: () => boolean // the sequences have ended or run elsewhere meanwhile: no further try
}

/** Where the worker's time went, in milliseconds. */
export interface WorkerTimes {
  readonly attentionMs: number
  readonly expertComputeMs: number
  readonly headMs: number
  readonly expertHopMs: number // waited for experts while none of a layer computed: frames, transport, queues
  readonly computeMs: number
  readonly layers: Float32Array | undefined // [layers, 4] of `layerTimes`, where they were asked for
}

export interface ForwardResult {
  readonly entries: readonly { readonly rows: Rows; readonly result: EntryResult }[]
  readonly durationMs: number // of the try that succeeded
  readonly distinctExperts: number | undefined // (layer, expert) pairs touched, where the worker reports them
  readonly times: WorkerTimes
  readonly expertRows: Sampled['expertRows']
}

/** Sends the step and waits for the samples; lost experts and a lost broker are waited for, within a bound. */
export async function forward(options: ForwardOptions, step: Forward): Promise<ForwardResult> {
  const { placement, membership, system, clock, owner } = options
  const { id, rows, released, predictedMs, traceparent, isGivenUp, span } = step
  const giveUpMs = clock.monotonicMs() + RECOVERY_MS
  const overdueMs = predictedMs > 0 ? Math.max(LEAST_OVERDUE_MS, OVERDUE_TIMES * predictedMs) : FIRST_OVERDUE_MS
  const entries = rows.map(stepEntry)
  const asks = {
    ...(step.wantsLayerTimes && { wantsLayerTimes: true }),
    ...(step.wantsExpertRows && { wantsExpertRows: true }),
    ...(step.wantsRoutes && { wantsRoutes: true }),
  }
  for (;;) {
    const held = placement.hold()
    const startedMs = clock.monotonicMs()
    const isSlow = (worker: string): boolean => membership.isAccused(worker, startedMs)
    const replicas = placement.order(held.table, isSlow)
    const release = [...released]
    const table = { tableEpoch: held.epoch, replicas }
    const body = { step: id, owner, ...table, entries, release, withLogits: false, ...asks }
    try {
      const sampled = await askWhileAlive(
        system,
        options.worker,
        { kind: 'attention.step', body, replyKind: 'attention.sampled' },
        { timeoutMs: STEP_TIMEOUT_MS, overdueMs, traceparent },
      )
      const durationMs = clock.monotonicMs() - startedMs
      membership.accuse(sampled.slow ?? [], clock.monotonicMs())
      const answered = rows.flatMap((planned, i) => {
        const result = sampled.entries[i]
        return result === undefined ? [] : [{ rows: planned, result }]
      })
      const { distinctExperts, expertRows } = sampled
      return { entries: answered, durationMs, distinctExperts, expertRows, times: timesOf(sampled) }
    } catch (error) {
      held.release() // what it names may be dropped: the next try goes by a newer one
      const { reason, shard } = ClusterError.from(error).details
      const isLostExpert = reason === 'EXPERT_UNAVAILABLE'
      const isLostOnTheWay = reason === 'DISCONNECTED' || reason === 'LOST'
      if ((!isLostExpert && !isLostOnTheWay) || clock.monotonicMs() > giveUpMs) throw error
      span.addEvent('banyan.step.retried', {
        'banyan.reason': reason,
        ...(shard !== undefined && { 'banyan.shard': shard }),
      })
      options.events?.retried(reason)
      // Nobody answered for this shard: its holders get no more work until they are heard of again.
      const holders = isLostExpert ? (held.table[Number(shard)] ?? []) : [] // those that were asked
      for (const holder of holders) membership.suspect(holder)
      if (holders.length > 0) placement.distrust()
      await pause(clock, RETRY_MS)
      if (isGivenUp()) throw new ClusterError('cancelled', `step ${id}: nobody waits for it any more`, { cause: error })
    } finally {
      held.release()
    }
  }
}

/** A worker of before these were told has none of them: its time is the rest, and the hop. */
const timesOf = ({
  computeMs,
  attentionMs = 0,
  expertWaitMs,
  expertComputeMs = 0,
  headMs = 0,
  layerTimes,
}: Sampled): WorkerTimes => ({
  computeMs,
  attentionMs,
  expertComputeMs,
  expertHopMs: Math.max(0, expertWaitMs - expertComputeMs),
  headMs,
  layers: layerTimes && readF32(layerTimes, 'layerTimes'),
})

function stepEntry({ sequence, tree, sampled, numHidden, typical }: Rows): StepEntry {
  return {
    sequence: sequence.id,
    epoch: sequence.epoch,
    base: sequence.base,
    accepted: packI32(sequence.accepted),
    tokens: packI32(tree.tokens),
    parents: packI32(tree.parents),
    sampled: packI32(sampled),
    ...(sequence.epoch === 0 && { start: startOf(sequence) }),
    ...(numHidden !== undefined && { numHidden }),
    ...(typical !== undefined && { typical }),
  }
}

function startOf({ promptLength, choice, sampling, prefix, tokens }: Sequence): NonNullable<StepEntry['start']> {
  const taken = prefix && { sequence: prefix.sequence, tokens: packI32(tokens.slice(0, prefix.length)) }
  return { promptLength, choice, sampling: samplingMessage(sampling), ...(taken && { prefix: taken }) }
}

/** Sampling parameters as they travel: the seed as decimal text. */
export function samplingMessage({ seed, logitBias, endTokenIds, ...rest }: SamplingParams) {
  return {
    ...rest,
    seed: seed.toString(),
    logitBias: logitBias.map(([token, bias]): [number, number] => [token, bias]),
    endTokenIds: [...endTokenIds],
  }
}
