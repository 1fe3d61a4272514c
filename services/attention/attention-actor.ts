// The attention worker's two actors: one mailbox for steps, one for what must be answered while a step is under way
// (cancel). They share the step runner and hold no logic.

import type { ActorDefinition, ActorSystem, Clock } from '../../lib/actor/actor.js'
import type { Tracer } from '@opentelemetry/api'
import { inHopSpan } from '../../lib/tracing/spans.js'
import { controlAddress } from '../../lib/actor/ask-while-alive.js'
import { createLayerSpans } from './layer-spans.js'
import type { CancelledStep, StepRunner } from './step-runner.js'

export interface AttentionActorOptions {
  readonly address: string
  readonly runner: StepRunner
  readonly system: ActorSystem
  readonly tracer: Tracer
  readonly clock: Clock
}

/** Handles `attention.step`, one at a time. */
export function stepActor({ address, runner, tracer, clock }: AttentionActorOptions): ActorDefinition {
  const layerSpans = createLayerSpans(tracer)
  return {
    address,
    mailboxCapacity: 64,
    systemKinds: new Set(),
    create: () => ({
      'attention.step': (message, context) =>
        inHopSpan(tracer, 'attention.step', context.traceparent, async (traceparent, span) => {
          span.setAttributes({
            'banyan.step.id': message.step,
            'banyan.step.sequences': message.entries.length,
            'banyan.queue_ms': context.queuedMs,
          })
          const timeoutMs = Math.max(1, context.dueMs - clock.monotonicMs())
          const openLayer = layerSpans(span)
          const body = await runner.run(message, { timeoutMs, signal: context.signal, traceparent, openLayer })
          return { kind: 'attention.sampled', ...body }
        }),
    }),
  }
}

/** Handles cancels beside the running step, and passes them on to the expert workers that compute for it. */
export function controlActor({ address, runner, system }: AttentionActorOptions): ActorDefinition {
  return {
    address: controlAddress(address),
    mailboxCapacity: 1024,
    systemKinds: new Set(['sequence.cancel']),
    create: () => ({
      'sequence.cancel': ({ sequences }) => passOn(system, runner.cancel(sequences)),
    }),
  }
}

/** Tells the expert workers that compute for a step that nobody waits for it any more. */
export function passOn(system: ActorSystem, cancelled: CancelledStep | undefined): void {
  for (const worker of cancelled?.workers ?? []) {
    system.tell(controlAddress(worker), 'expert.cancel', { step: cancelled?.step ?? '' })
  }
}
