// The router's engine behind every door: readiness, admission and what it shows of itself. Where requests run is in
// `request-life.ts`; what becomes of their tokens is decided in the step loop (`step-loop.ts`).

import type { ActorDefinition } from '../../lib/actor/actor.js'
import type { RouterOptions, ServiceDeps } from '../../lib/config/service.js'
import { VERSION } from '../../lib/config/version.js'
import { pause } from '../../lib/actor/until.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { fingerprintParts, systemFingerprint, type FingerprintParts } from '../../lib/model/fingerprint.js'
import { createConsole } from './console/console.js'
import { describeCluster, describeModel } from './console/describe.js'
import type { Gathering } from './console/gathering.js'
import type { CostSummary } from './cost-model.js'
import { openCapture } from './capture/open-capture.js'
import type { ClusterState } from './cluster-state.js'
import { clusterStatus, placementStatus } from './cluster-status.js'
import type { InferenceEngine } from './engine.js'
import type { RouterMetrics } from './metrics/router-metrics.js'
import { modelInfo } from './model-info.js'
import { createPromptReader } from './prompt.js'
import { createRequestDesk } from './request-desk.js'
import type { Scaling } from './scaling.js'
import type { AttentionWorkers } from './workers.js'

export interface RouterEngineOptions {
  readonly deps: ServiceDeps
  readonly limits: RouterOptions
  readonly checkpoint: Checkpoint
  readonly modelFingerprint: string
  readonly state: ClusterState
  readonly workers: AttentionWorkers
  readonly metrics: RouterMetrics
  readonly scale: Scaling['scale']
  readonly stepCost: () => CostSummary | undefined
  readonly gathering: Gathering
}

export interface RouterEngine extends InferenceEngine {
  /** Answers other routers about the requests that run here. */
  readonly requestActor: ActorDefinition
  numOpen(): number
  /** Ends every open request with an error. */
  endAll(error: ClusterError): void
  /** Refuses new requests and waits for the running ones, at most `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>
  /** Ends what still runs with an error that sends its readers to another router; resolves when its records are written. */
  stop(): Promise<void>
}

/** Within that a client whose connection was closed is back for the rest of its request. */
const RETURN_MS = 300

export function createRouterEngine(options: RouterEngineOptions): RouterEngine {
  const { deps, checkpoint, workers, state, metrics } = options
  const { placement, classes } = state
  const model = modelInfo(checkpoint, options.limits.model)
  let isDraining = false
  let hasBeenReady = false

  const parts = (): FingerprintParts => {
    const { weights, kvFormat: kv = 'f32' } = options.limits.model
    return fingerprintParts(checkpoint, {
      weights,
      kv,
      deviceClass: classes.name(),
      acceptance: options.limits.acceptance,
    })
  }
  const fingerprint = (): string => systemFingerprint(options.modelFingerprint, parts())

  const isReady = (): boolean => {
    const wanted = hasBeenReady ? 1 : options.limits.numAttention - classes.reserve('attention').length
    const isServing = placement.isComplete() && workers.count >= Math.max(1, wanted)
    hasBeenReady ||= isServing
    return isServing && !isDraining && deps.transport.usage().isConnected
  }

  const checkServing = ({ isOurs = false } = {}): void => {
    if (isDraining && !isOurs)
      throw new ClusterError('unavailable', 'this router is draining; try another', { details: { reason: 'DRAINING' } })
    if (!hasBeenReady && !isReady()) {
      throw new ClusterError('unavailable', 'the cluster is still starting; try again shortly', {
        details: { reason: 'STARTING' },
      })
    }
    classes.checkServing()
  }

  const capture = openCapture(deps, options.limits, { checkpoint, model, fingerprint, fingerprintParts: parts })
  const prompts = createPromptReader(checkpoint, deps.system.clock)
  const desk = createRequestDesk({
    ...capture,
    deps,
    checkpoint,
    model,
    prompts,
    limits: options.limits,
    workers,
    metrics,
    fingerprint,
    checkServing,
  })

  const status = clusterStatus({
    model: model.id,
    fingerprint,
    state,
    workers,
    versionsOf: deps.system.versionsOf,
    stepCost: options.stepCost,
  })

  const console = createConsole({
    clock: deps.system.clock,
    gathering: options.gathering,
    hello: () => ({ ...describeModel(model), version: VERSION, router: deps.id, fingerprint: fingerprint() }),
    cluster: () => ({ ...describeCluster(status()), isReady: isReady() }),
    records: () => desk.requests.all(),
    find: (tenant, id) => desk.requests.get(tenant, id),
    tokenText: (token) => checkpoint.tokenizer?.tokenText(token) ?? `⟨${token}⟩`,
  })
  metrics.watch({
    workers,
    membership: state.membership,
    placement: () => placementStatus(state),
    expertLoad: state.load,
    rebalancer: state.rebalancer,
    stepCost: options.stepCost,
    numOpenRequests: () => desk.requests.numOpen,
    prefixCache: options.limits.prefixCache,
    nowMs: () => deps.system.clock.monotonicMs(),
  })

  return {
    version: VERSION,
    model,
    fingerprint,
    fingerprintParts: parts,
    generate: desk.generate,
    resume: desk.resume,
    cancel: desk.cancel,
    lookup: desk.lookup,
    records: (feed) => capture.recorder.listen(feed),
    requestActor: desk.actor,
    status,
    openConsole: (viewer) => console.open(viewer),
    scale: options.scale,
    isReady,
    tokenize: prompts.text,
    detokenize: (tokens) => {
      if (checkpoint.tokenizer === undefined) throw noTokenizer()
      return checkpoint.tokenizer.decode(tokens)
    },
    metrics: () => metrics.registry.text(),
    numOpen: () => desk.requests.numOpen,
    endAll: desk.endAll,
    drain: async (timeoutMs) => {
      isDraining = true
      const { clock } = deps.system
      const dueMs = clock.monotonicMs() + timeoutMs
      do {
        await desk.whenIdle(dueMs - clock.monotonicMs())
        await pause(clock, Math.min(RETURN_MS, Math.max(0, dueMs - clock.monotonicMs())))
      } while (desk.requests.numOpen > 0 && clock.monotonicMs() < dueMs)
    },
    stop: () => {
      isDraining = true
      console.stop()
      desk.leave()
      workers.stop()
      return capture.recorder.close()
    },
  }
}

export const noTokenizer = (): ClusterError =>
  new ClusterError('failed_precondition', 'this model has no tokenizer; send and read token ids', {
    details: { reason: 'NO_TOKENIZER' },
  })
