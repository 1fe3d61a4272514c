// Starts an expert worker: open its device, report health, load shards as the router places them.
// Ready: a router accepts it (its checkpoint, its device class), and what the routers placed on it is loaded.

import { createLeaving } from '../../lib/actor/leaving.js'
import { pingActor } from '../../lib/actor/ping.js'
import { watchRouters } from '../../lib/actor/router-watch.js'
import { createStallDetector } from '../../lib/actor/stall.js'
import type { TouchedExpert } from '../../lib/compute/expert-call.js'
import { DRAIN_WAIT_MS } from '../../lib/config/drain-time.js'
import type { ExpertWorkerOptions, RunningService, ServiceDeps } from '../../lib/config/service.js'
import { watchLoad } from '../../lib/config/watch-load.js'
import { registryOf, startServiceHeartbeat } from '../../lib/config/service-health.js'
import { openWeights } from '../../lib/model/checkpoint.js'
import { modelFingerprint, weightFolder } from '../../lib/model/fingerprint.js'
import { openWeightFolder } from '../../lib/config/weight-folder.js'
import type { Body, Heartbeat } from '../../lib/wire/messages.js'
import { untilUnneeded } from './drain.js'
import { expertActors } from './expert-actor.js'
import { computeLayer, touchedBy } from './compute.js'
import { createExpertMetrics } from './metrics.js'
import { openExperts } from './open-experts.js'
import { createWants } from './wants.js'
import { createExpertWork } from './work.js'

/** Resolves when the worker accepts placements. Throws where the checkpoint or the processor does not allow it. */
export async function startExpertWorker(deps: ServiceDeps, options: ExpertWorkerOptions): Promise<RunningService> {
  const { system, id, tracer, logger, drainWaitMs = DRAIN_WAIT_MS } = deps
  const { path, weights: format } = options.model
  const checkpoint = await openWeights(path)
  const fingerprint = modelFingerprint(checkpoint, format, options.model.kvFormat)
  const watch = watchLoad(deps)
  const { store, deviceClass, inPlace } = await openExperts(deps, options, {
    checkpoint,
    format,
    weights: openWeightFolder(deps, weightFolder(options.model, checkpoint)),
    turn: watch.turn,
    onProgress: watch.onProgress,
  })
  const metrics = createExpertMetrics(registryOf(deps, options.model), {
    numLayers: checkpoint.spec.layers.length,
    numExperts: Math.max(...checkpoint.spec.layers.map(({ ffn }) => ffn.experts.length)) + 1, // and an always-active one
    numShards: store.plan.numShards,
  })
  const work = createExpertWork(store.plan.numShards, system.clock)
  metrics.watch({ shards: () => store.shards, busy: () => work.busy })
  const load: Record<string, number> = { calls: 0, rows: 0, cancelledSteps: 0 }
  let state: Heartbeat['state'] = 'ready'
  const stalls = createStallDetector(system.clock, (stalledMs) => logger.warn({ stalledMs }, 'the process stood still'))
  const pings = system.spawn(pingActor(id, system.isInHand)) // before it is heard of
  const describe = (): Body<'worker.heartbeat'> => ({
    role: 'expert-worker',
    id,
    incarnation: deps.incarnation,
    pid: deps.pid,
    state,
    deviceClass,
    fingerprint,
    shards: [...store.shards],
    capacity: { kvTokens: 0, maxRows: 0 },
    load: { ...load, ...watch.load, busy: Math.round(100 * work.busy) / 100, ...stalls.load },
    work: [...work.byShard],
  })
  const heartbeat = startServiceHeartbeat(deps, describe, () => wants.isSettled)
  const wants = createWants(store, () => heartbeat.beat())
  const definitions = expertActors({
    address: id,
    store,
    wants,
    fingerprint,
    tracer,
    clock: system.clock,
    load,
    metrics,
    work,
    onDeviceLost: deps.onDeviceLost,
  })
  const routers = watchRouters({
    system,
    cluster: deps.cluster,
    incarnation: deps.incarnation,
    onGone: (router, _, successor) => successor === undefined && wants.forget(router), // a successor says what it wants
  })
  const actors = [pings, ...definitions.map((definition) => system.spawn(definition))]
  const count = (numRows: number): void => {
    load.calls = (load.calls ?? 0) + 1
    load.rows = (load.rows ?? 0) + numRows
  }
  const touched = (layer: number, experts: readonly TouchedExpert[]): void => {
    metrics.touched(layer, experts)
    work.touched(experts)
  }
  deps.neighbours?.set(id, {
    kernels: inPlace.kernels,
    expert: inPlace.expert,
    count: (layer, experts) => {
      count(experts.reduce((sum, one) => sum + one.count, 0))
      touched(layer, experts)
    },
    compute: (call) => {
      count(call.input.numRows)
      touched(call.layer, touchedBy(call.calls))
      return computeLayer(store, call)
    },
  })
  const waitUntilUnneeded = async (): Promise<void> => {
    const numQueued = (): number => actors.reduce((sum, actor) => sum + actor.queued, 0)
    wants.close()
    const { wantedBy } = wants
    const isFree = await untilUnneeded({ system, wantedBy, numQueued, timeoutMs: drainWaitMs })
    if (!isFree)
      logger.warn({ routers: [...wantedBy.keys()] }, 'leaving while routers still want shards of this worker')
  }
  const announce = (next: Heartbeat['state']): void => {
    state = next
    heartbeat.beat()
  }
  const close = async (): Promise<void> => {
    deps.neighbours?.delete(id)
    heartbeat.stop()
    stalls.stop()
    routers.stop()
    store.close() // a placement under way ends
    await Promise.all(actors.map((actor) => actor.stop()))
    await store.dispose()
    checkpoint.close()
  }
  return { address: id, ...createLeaving({ announce, close, untilUnneeded: waitUntilUnneeded }) }
}
