// The expert worker's three actors: one computes rows; one (control) cancels steps meanwhile; one places
// shards, which may take minutes.

import type { Tracer } from '@opentelemetry/api'
import type { ActorDefinition, Clock } from '../../lib/actor/actor.js'
import { controlAddress, placementAddress } from '../../lib/actor/ask-while-alive.js'
import { ClusterError } from '../../lib/errors.js'
import { inHopSpan } from '../../lib/tracing/spans.js'
import type { ExpertCall } from '../../lib/compute/expert-call.js'
import { answerCompute, createReusedCopy, touchedBy } from './compute.js'
import type { ExpertMetrics } from './metrics.js'
import type { ExpertStore } from '../../lib/decode/expert-store.js'
import type { Wants } from './wants.js'
import type { ExpertWork } from './work.js'

/** Cancelled steps are remembered until their calls have drained: the last few are enough. */
const REMEMBERED_STEPS = 256

export interface ExpertActorOptions {
  readonly address: string
  readonly store: ExpertStore
  readonly wants: Wants
  readonly fingerprint: string
  readonly tracer: Tracer
  readonly clock: Clock
  /** Counters for the heartbeat. */
  readonly load: Record<string, number>
  readonly metrics?: ExpertMetrics | undefined
  readonly work?: Pick<ExpertWork, 'touched' | 'computed'> | undefined
  readonly onDeviceLost?: ((error: ClusterError) => void) | undefined
}

export function expertActors(options: ExpertActorOptions): readonly ActorDefinition[] {
  const cancelled = new Set<string>()
  return [computeActor(options, cancelled), controlActor(options, cancelled), placementActor(options)]
}

function computeActor(options: ExpertActorOptions, cancelled: Set<string>): ActorDefinition {
  const { address, store, tracer, clock, load, metrics, work } = options
  const countCalls = (layer: number) => (calls: readonly ExpertCall[]) => {
    const touched = touchedBy(calls)
    metrics?.touched(layer, touched)
    work?.touched(touched)
  }
  const keep = createReusedCopy() // an answer is on its way before the next call is looked at
  return {
    address,
    mailboxCapacity: 256,
    systemKinds: new Set(),
    create: () => ({
      'expert.compute': (message, context) =>
        inHopSpan(tracer, 'expert.compute', context.traceparent, async (_, span) => {
          span.setAttributes({
            'banyan.layer': message.layer,
            'banyan.rows': message.hidden.shape[0] ?? 0,
            'banyan.experts': message.experts.shape[0] ?? 0,
            'banyan.queue_ms': context.queuedMs,
          })
          const started = clock.monotonicMs()
          if (cancelled.has(message.step)) throw new ClusterError('cancelled', `step ${message.step} was cancelled`)
          const partials = noteLoss(options, () => answerCompute(store, message, countCalls(message.layer), keep))
          load.calls = (load.calls ?? 0) + 1
          load.rows = (load.rows ?? 0) + (message.hidden.shape[0] ?? 0)
          const computeMs = clock.monotonicMs() - started
          metrics?.computed(computeMs)
          work?.computed(computeMs)
          return { kind: 'expert.output', step: message.step, layer: message.layer, partials, computeMs }
        }),
    }),
  }
}

/** Whoever asked hears of the loss as well, and asks another worker. */
function noteLoss<T>({ onDeviceLost }: ExpertActorOptions, compute: () => T): T {
  try {
    return compute()
  } catch (error) {
    if (error instanceof ClusterError && error.details.reason === 'DEVICE_LOST') onDeviceLost?.(error)
    throw error
  }
}

function controlActor({ address, load, metrics }: ExpertActorOptions, cancelled: Set<string>): ActorDefinition {
  return {
    address: controlAddress(address),
    mailboxCapacity: 1024,
    systemKinds: new Set(['expert.cancel']),
    create: () => ({
      'expert.cancel': ({ step }) => {
        cancelled.add(step)
        metrics?.cancelled()
        load.cancelledSteps = (load.cancelledSteps ?? 0) + 1
        const oldest = cancelled.values().next().value
        if (cancelled.size > REMEMBERED_STEPS && oldest !== undefined) cancelled.delete(oldest)
      },
    }),
  }
}

function placementActor(options: ExpertActorOptions): ActorDefinition {
  const { address, store, wants, fingerprint } = options
  return {
    address: placementAddress(address),
    mailboxCapacity: 1024,
    systemKinds: new Set(),
    create: () => ({
      'expert.place': async ({ router, tableEpoch, fingerprint: wanted, shards }) => {
        if (wanted !== fingerprint) {
          throw new ClusterError(
            'failed_precondition',
            `checkpoint: the router serves ${wanted}, this worker holds ${fingerprint}`,
          )
        }
        const unknown = shards.find((shard) => shard >= store.plan.numShards)
        if (unknown !== undefined) {
          throw new ClusterError('invalid_argument', `shard ${unknown}: want 0 … ${store.plan.numShards - 1}`)
        }
        await wants.set(router, shards)
        return { kind: 'expert.placed', tableEpoch, shards: [...store.shards] }
      },
    }),
  }
}
