// Starts a router: watch the cluster, place shards, open the doors.

import { pingActor } from '../../lib/actor/ping.js'
import { createStallDetector, type StallDetector } from '../../lib/actor/stall.js'
import type { RouterOptions, RunningRouter, ServiceDeps } from '../../lib/config/service.js'
import { DRAIN_WAIT_MS } from '../../lib/config/drain-time.js'
import { registryOf, startServiceHeartbeat } from '../../lib/config/service-health.js'
import { reachable } from '../../lib/metrics/metrics-server.js'
import { ClusterError } from '../../lib/errors.js'
import { openModel, type Checkpoint } from '../../lib/model/checkpoint.js'
import { shardPlan } from '../../lib/model/expert-shards.js'
import { modelFingerprint } from '../../lib/model/fingerprint.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import { subjects } from '../../lib/wire/subjects.js'
import { createApiKeys } from './api-keys.js'
import { startGrpcServer } from './grpc-server.js'
import { startHttpServer } from './http/http-server.js'
import { createGathering } from './console/gathering.js'
import { costKey, createCostStore } from './cost-store.js'
import type { CostModel } from './cost-model.js'
import { expertShapeOf } from './expert-spread.js'
import { createClusterState } from './cluster-state.js'
import { createRouterMetrics, type RouterMetrics } from './metrics/router-metrics.js'
import { startProbes } from './probes.js'
import { createProposer } from './proposer.js'
import { createRateLimits } from './rate-limits.js'
import { createRouterEngine, type RouterEngine } from './router-engine.js'
import { routerActor } from './router-actor.js'
import { createScaling } from './scaling.js'
import { openTls } from './tls-source.js'
import { createAttentionWorkers } from './workers.js'

const HEALTH_EVERY_MS = 250
const LAST_ANSWERS_MS = 1_000 // for streams to be told where they go on

/** A router without doors: all that it is to the cluster, and the engine that doors open onto. */
export interface RouterCore {
  readonly engine: RouterEngine
  readonly metrics: RouterMetrics
  /** Tells the cluster at once. */
  setState(state: Heartbeat['state']): void
  /** Its HTTP door's URL, for those who read its series there. */
  setDoor(url: string): void
  stop(): Promise<void>
}

/** Resolves when the doors are open; `GET /ready` tells when the cluster behind them can serve. */
export async function startRouter(deps: ServiceDeps, options: RouterOptions): Promise<RunningRouter> {
  const checkpoint = await openModel(options.model.path)
  const core = startRouterCore(deps, options, checkpoint)
  const { engine } = core
  const { logger, system, drainWaitMs = DRAIN_WAIT_MS } = deps
  const { clock } = system
  const tls = options.tls && openTls(options.tls, { clock, logger })
  const { limitsOf: own } = createApiKeys(options.apiKeys)
  const rates = createRateLimits({
    common: options.rateLimit ?? {},
    own,
    now: () => clock.monotonicMs(),
    onRefused: () => core.metrics.requests.refused('RATE_LIMITED'),
  })
  const doors = { engine, host: options.host, apiKeys: options.apiKeys, logger, rates, tls }
  const http = await startHttpServer({ ...doors, port: options.httpPort })
  const grpc = await startGrpcServer({ ...doors, port: options.grpcPort })
  const stopHealth = every(clock, HEALTH_EVERY_MS, () => grpc.setServing(engine.isReady()))
  if (options.warmTemplates === true) checkpoint.chatTemplate?.warm()
  core.setDoor(reachable(http.url))
  core.setState('ready')

  let leaving: Promise<void> | undefined
  const leave = (graceMs: number): Promise<void> => (leaving ??= close(graceMs))
  const close = async (graceMs: number): Promise<void> => {
    core.setState('stopped')
    stopHealth()
    tls?.close()
    const recorded = engine.stop()
    await Promise.all([http.stop(graceMs), grpc.stop(graceMs), recorded])
    await core.stop()
  }

  return {
    address: deps.id,
    http: http.url,
    grpc: grpc.address,
    drain: async () => {
      core.setState('draining')
      stopHealth()
      http.drain()
      grpc.drain(drainWaitMs + 2 * LAST_ANSWERS_MS)
      await engine.drain(drainWaitMs)
      await leave(LAST_ANSWERS_MS)
    },
    stop: () => leave(0),
  }
}

/** Watches the cluster, places shards and runs requests. The checkpoint is closed at its end. */
export function startRouterCore(deps: ServiceDeps, options: RouterOptions, checkpoint: Checkpoint): RouterCore {
  const { system, logger, cluster, id } = deps
  const fingerprint = modelFingerprint(checkpoint, options.model.weights, options.model.kvFormat)
  let numSteps = 0
  const newStepId = (): string => `${id}.${deps.incarnation}.${(numSteps += 1)}`

  const state = createClusterState(deps, {
    limits: options,
    fingerprint,
    numShards: shardPlan(checkpoint.spec).numShards,
    numOpen: () => engine.numOpen(),
    onClasses: (classes) => {
      engine.endAll(classesChanged(classes))
      workers.reset()
    },
    onGivenUp: (error) => engine.endAll(error),
    onAgreed: () => heartbeat.beat(),
  })
  const { membership, classes, placement } = state
  const scaling = createScaling({
    system,
    replicas: options.replicas,
    onReplicas: (count) => {
      placement.setReplicas(count)
      heartbeat.beat()
    },
  })
  const proposer = createProposer({
    system,
    membership,
    clock: system.clock,
    vocabSize: checkpoint.spec.vocabSize,
    maxPositions: checkpoint.spec.maxPositions,
    scopeOf: scopes[options.draftSharing],
  })
  const { prefixCache } = options
  const metrics = createRouterMetrics(registryOf(deps, options.model), { clock: system.clock, prefixCache })
  const costs = createCostStore({
    file: options.costModelFile,
    writer: deps.incarnation,
    clock: system.clock,
    logger,
  })
  let cost: CostModel | undefined // of the device classes that serve now
  const openCostModel = (): CostModel => {
    const { numAttention, numExperts, model } = options
    const transport = deps.transport.kind
    const key = costKey({
      deviceClass: classes.name(),
      fingerprint,
      weights: model.weights,
      transport,
      numAttention,
      numExperts,
    })
    return (cost = costs.open(key, expertShapeOf(checkpoint.spec)))
  }
  const gathering = createGathering(system.clock)
  const workers = createAttentionWorkers({
    ...deps,
    watch: gathering,
    membership,
    placement,
    proposer,
    limits: options,
    costModel: openCostModel,
    accepts: classes.accepts,
    owner: { router: id, incarnation: deps.incarnation },
    newStepId,
    onStep: metrics.step,
    events: metrics.sequences,
  })
  const engine = createRouterEngine({
    deps,
    limits: options,
    checkpoint,
    modelFingerprint: fingerprint,
    state,
    workers,
    metrics,
    scale: scaling.scale,
    gathering,
    stepCost: () => cost?.summary(),
  })

  const stopListening = system.listen(subjects.health(cluster), 'worker.heartbeat', (heartbeat) => {
    state.observe(heartbeat)
    scaling.observe(heartbeat)
  })
  const stalls = createStallDetector(system.clock, (stalledMs) => logger.warn({ stalledMs }, 'the process stood still'))
  const pings = system.spawn(pingActor(id)) // before it is heard of
  const stopProbes = startProbes(system, membership, id)
  let phase: Heartbeat['state'] = 'starting'
  let door: string | undefined
  const about = () => ({
    ...describe(deps, engine, { phase, fingerprint, stalls }),
    replicas: scaling.replicas,
    ...state.agreed,
    ...(door !== undefined && { metrics: `${door}/metrics` }),
  })
  const heartbeat = startServiceHeartbeat(deps, about, () => engine.isReady())
  const actor = system.spawn(routerActor({ id, system, checkpoint, engine, workers, placement, newStepId, options }))
  const requestActor = system.spawn(engine.requestActor)

  const setState = (next: Heartbeat['state']): void => {
    phase = next
    heartbeat.beat()
  }

  return {
    engine,
    metrics,
    setState,
    setDoor: (url) => void (door = url),
    stop: async () => {
      const recorded = engine.stop()
      costs.close()
      state.stop()
      stopProbes()
      stalls.stop()
      stopListening()
      heartbeat.stop()
      await Promise.all([actor.stop(), requestActor.stop(), pings.stop(), recorded])
      checkpoint.close()
    },
  }
}

function describe(
  deps: ServiceDeps,
  engine: RouterEngine,
  { phase, fingerprint, stalls }: { phase: Heartbeat['state']; fingerprint: string; stalls: StallDetector },
) {
  const {
    requests: { running, waiting },
    placement: { replicas, copies },
  } = engine.status()
  return {
    role: 'router' as const,
    id: deps.id,
    incarnation: deps.incarnation,
    pid: deps.pid,
    state: phase,
    deviceClass: 'none',
    fingerprint,
    shards: [],
    capacity: { kvTokens: 0, maxRows: 0 },
    load: { running, waiting, open: engine.numOpen(), replicas, copies, ...stalls.load },
  }
}

/** Whose texts a tenant's sequences may be drafted from, beside their own: the name of the group, '' for nobody's. */
const scopes: Readonly<Record<RouterOptions['draftSharing'], (tenant: string) => string>> = {
  key: (tenant) => tenant && `key ${tenant}`, // callers without a key are strangers to each other
  all: () => 'all',
  off: () => '',
}

const classesChanged = (classes: string): ClusterError =>
  new ClusterError('unavailable', `other device classes serve now (${classes}), which give other bits`, {
    details: { reason: 'DEVICE_CLASS_CHANGED' },
  })

function every(clock: ServiceDeps['system']['clock'], intervalMs: number, run: () => void): () => void {
  let cancel = (): void => undefined
  const tick = (): void => {
    run()
    cancel = clock.after(intervalMs, tick)
  }
  tick()
  return () => cancel()
}
