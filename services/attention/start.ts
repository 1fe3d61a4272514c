// Starts an attention worker: open its device, load the weights, serve steps, report health. Ready: loaded, and a
// router of its checkpoint is there to give it steps.

import { DRAIN_WAIT_MS } from '../../lib/config/drain-time.js'
import type { AttentionOptions, RunningService, ServiceDeps } from '../../lib/config/service.js'
import { watchLoad } from '../../lib/config/watch-load.js'
import { registryOf, startServiceHeartbeat } from '../../lib/config/service-health.js'
import { createLeaving } from '../../lib/actor/leaving.js'
import { pingActor } from '../../lib/actor/ping.js'
import { watchRouters } from '../../lib/actor/router-watch.js'
import { createStallDetector } from '../../lib/actor/stall.js'
import { untilDrained } from '../../lib/actor/until.js'
import { openWeights } from '../../lib/model/checkpoint.js'
import { modelFingerprint, weightFolder } from '../../lib/model/fingerprint.js'
import { openWeightFolder } from '../../lib/config/weight-folder.js'
import type { Body, Heartbeat } from '../../lib/wire/messages.js'
import { controlActor, passOn, stepActor } from './attention-actor.js'
import { createExpertPeers } from './expert-peers.js'
import { createAttentionMetrics } from './metrics.js'
import { openEngine } from './open-engine.js'
import { createStepRunner, type StepRunner } from './step-runner.js'

/** Resolves when the worker serves. Throws where the checkpoint or the processor does not allow it. */
export async function startAttention(deps: ServiceDeps, options: AttentionOptions): Promise<RunningService> {
  const { system, tracer, logger, id, drainWaitMs = DRAIN_WAIT_MS } = deps
  const checkpoint = await openWeights(options.model.path)
  const { weights: format, kvFormat } = options.model
  const fingerprint = modelFingerprint(checkpoint, format, kvFormat)
  const watch = watchLoad(deps)
  const { deviceClass, load: loadEngine } = await openEngine(deps, options, { checkpoint, watch })
  let state: Heartbeat['state'] = 'starting'
  let numSteps = 0
  let held: Pick<StepRunner, 'numSequences' | 'numTokens'> = { numSequences: 0, numTokens: 0 }
  const stalls = createStallDetector(system.clock, (stalledMs) => logger.warn({ stalledMs }, 'the process stood still'))
  const metrics = createAttentionMetrics(registryOf(deps, options.model))
  const peers = createExpertPeers(system, { hedges: options.hedge, metrics })
  const pings = system.spawn(pingActor(id, system.isInHand)) // before it is heard of
  const describe = (): Body<'worker.heartbeat'> => ({
    role: 'attention',
    id,
    incarnation: deps.incarnation,
    pid: deps.pid,
    state,
    deviceClass,
    fingerprint,
    shards: [],
    capacity: { kvTokens: options.kvTokens, maxRows: 0 },
    load: {
      steps: numSteps,
      sequences: held.numSequences,
      kvTokens: held.numTokens,
      ...watch.load,
      ...stalls.load,
      ...peers.load,
    },
  })
  const heartbeat = startServiceHeartbeat(deps, describe, () => routers.isHeard(fingerprint))
  const weights = openWeightFolder(deps, weightFolder(options.model, checkpoint))
  const engine = await loadEngine(weights).catch(async (error: unknown) => {
    heartbeat.stop()
    stalls.stop()
    await pings.stop()
    checkpoint.close()
    throw error
  })
  const runner = createStepRunner({
    engine,
    system,
    kvTokens: options.kvTokens,
    peers,
    microBatches: options.microBatches,
    neighbours: deps.neighbours ?? new Map<string, never>(),
  })
  held = runner
  const numRouted = checkpoint.spec.layers.map(({ ffn }) => ffn.experts.length)
  metrics.watch({ runner, numRouted, kvTokens: options.kvTokens, peers })
  const forgetOwner = (owner: string): void => passOn(system, runner.disown(owner))
  const routers = watchRouters({
    system,
    cluster: deps.cluster,
    incarnation: deps.incarnation,
    onGone: (_, incarnation) => forgetOwner(incarnation),
  })
  const counted: typeof runner = {
    ...runner,
    run: async (step, stepOptions) => {
      const startedMs = system.clock.monotonicMs()
      let hasFailed = true
      try {
        const sampled = await runner.run(step, stepOptions)
        hasFailed = false
        return sampled
      } finally {
        const rows = step.entries.reduce((sum, { tokens }) => sum + (tokens.shape[0] ?? 0), 0)
        const tookMs = system.clock.monotonicMs() - startedMs
        metrics.step({ sequences: step.entries.length, rows, tookMs, hasFailed })
        if (step.owner !== undefined && routers.isGone(step.owner.incarnation)) forgetOwner(step.owner.incarnation)
        numSteps += 1
      }
    },
  }
  const actorOptions = { address: id, runner: counted, system, tracer, clock: system.clock }
  const actors = [pings, system.spawn(stepActor(actorOptions)), system.spawn(controlActor(actorOptions))]
  state = 'ready'
  heartbeat.beat()
  const announce = (next: Heartbeat['state']): void => {
    state = next
    heartbeat.beat()
  }
  const close = async (): Promise<void> => {
    heartbeat.stop()
    stalls.stop()
    routers.stop()
    await Promise.all(actors.map((actor) => actor.stop()))
    engine.dispose()
    checkpoint.close()
  }
  return {
    address: id,
    ...createLeaving({
      announce,
      close,
      // Routers let the step under way end, then take their sequences elsewhere.
      untilUnneeded: () => untilDrained(system.clock, () => runner.numSequences === 0, drainWaitMs),
    }),
  }
}
