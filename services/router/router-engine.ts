// The router's engine behind every door: validates, admits, runs and ends requests. It decides nothing about tokens;
// that is the step loop (`step-loop.ts`).

import type { Random } from '../../lib/actor/actor.js'
import { randomHex } from '../../lib/actor/random-id.js'
import type { RouterOptions, ServiceDeps } from '../../lib/config/service.js'
import { VERSION } from '../../lib/config/version.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { createDetokenizer } from '../../lib/model/detokenizer.js'
import { systemFingerprint } from '../../lib/model/fingerprint.js'
import { traceparentOf } from '../../lib/tracing/spans.js'
import type { RouterMetrics } from '../../lib/tracing/metrics.js'
import type { CostSummary } from './cost-model.js'
import { describeCost } from './cost-status.js'
import { createEmitter } from './emitter.js'
import type { GenerateEvent, GenerateInput, InferenceEngine } from './engine.js'
import type { Membership } from './membership.js'
import { modelInfo } from './model-info.js'
import type { PlacementManager } from './placement-manager.js'
import { promptTokens } from './prompt.js'
import { createRequests, hashBody, requestState, type RequestRecord } from './requests.js'
import { noStats, type Sequence } from './sequence.js'
import { createStopChecker } from './stop-checker.js'
import { validate, type ModelLimits, type ValidRequest } from './validate.js'
import type { AttentionWorkers } from './workers.js'

const RETRY_AFTER_MS = 250

export interface RouterEngineOptions {
  readonly deps: ServiceDeps
  readonly limits: RouterOptions
  readonly checkpoint: Checkpoint
  readonly modelFingerprint: string
  readonly deviceClass: () => string
  readonly membership: Membership
  readonly placement: PlacementManager
  readonly workers: AttentionWorkers
  readonly metrics: RouterMetrics
  readonly stepCost: () => CostSummary | undefined
}

export interface RouterEngine extends InferenceEngine {
  /** Refuses new requests and waits for the running ones, at most `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>
  /** Ends what still runs with a typed error. */
  stop(): void
}

export function createRouterEngine(options: RouterEngineOptions): RouterEngine {
  const { deps, checkpoint, workers, placement, membership, metrics } = options
  const { clock, random } = deps.system
  const model = modelInfo(checkpoint, options.limits.model)
  const requests = createRequests(clock, (sequences) => workers.cancel(sequences))
  let isDraining = false
  let hasBeenReady = false

  const fingerprint = (): string =>
    systemFingerprint(options.modelFingerprint, options.deviceClass(), options.limits.acceptance)

  const isReady = (): boolean => {
    const wanted = hasBeenReady ? 1 : options.limits.numAttention
    const isServing = placement.isComplete() && workers.count >= wanted
    hasBeenReady ||= isServing
    return isServing && !isDraining
  }

  const admit = (numSequences: number): void => {
    if (isDraining)
      throw new ClusterError('unavailable', 'this router is draining; try another', { details: { reason: 'DRAINING' } })
    if (!hasBeenReady && !isReady()) {
      throw new ClusterError('unavailable', 'the cluster is still starting; try again shortly', {
        details: { reason: 'STARTING' },
      })
    }
    const { maxWaiting } = options.limits
    if (workers.numWaiting + numSequences > maxWaiting) {
      throw new ClusterError(
        'resource_exhausted',
        `queue: ${workers.numWaiting} sequences wait of at most ${maxWaiting}`,
        {
          details: { reason: 'QUEUE_FULL', retryAfterMs: String(RETRY_AFTER_MS) },
        },
      )
    }
  }

  const checkModel = (name: string | undefined): void => {
    if (name === undefined || name === '' || name === model.id) return
    throw new ClusterError('not_found', `model ${name}: this cluster serves ${model.id}`, {
      details: { reason: 'MODEL_NOT_FOUND', model: name },
    })
  }

  const modelLimits = (): ModelLimits => ({
    vocabSize: model.vocabSize,
    maxPositions: model.maxPositions,
    kvTokens: workers.kvTokens === 0 ? model.maxPositions : workers.kvTokens,
    eosTokenIds: model.eosTokenIds,
    defaults: checkpoint.defaults,
  })

  const start = (input: GenerateInput, id: string, bodyHash: string, deadlineMs: number | undefined): RequestRecord => {
    checkModel(input.model)
    const request = validate(input, promptTokens(checkpoint, input.prompt), modelLimits(), () => drawSeed(random))
    admit(request.n)
    const record = requests.open(id, bodyHash, deadlineMs)
    record.span = deps.tracer.startSpan(`generate ${model.id}`, {
      attributes: {
        'gen_ai.operation.name': 'text_completion',
        'gen_ai.request.model': model.id,
        'gen_ai.request.choice.count': request.n,
        'gen_ai.response.id': id,
        'gen_ai.usage.input_tokens': request.prompt.length,
      },
    })
    record.numOpen = request.n
    record.log.append({
      kind: 'accepted',
      requestId: id,
      model: model.id,
      createdUnixMs: clock.now(),
      promptTokens: request.prompt.length,
      cachedTokens: 0,
      fingerprint: fingerprint(),
      seed: request.sampling.seed,
    })
    metrics.requestAccepted(request.prompt.length)
    record.sequences = Array.from({ length: request.n }, (_, choice) =>
      createSequence(record, request, choice, input.tenant ?? ''),
    )
    workers.submit(record.sequences)
    return record
  }

  const createSequence = (record: RequestRecord, request: ValidRequest, choice: number, tenant: string): Sequence => {
    const endTokenIds = new Set(request.sampling.endTokenIds)
    const { tokenizer } = checkpoint
    const startedMs = clock.monotonicMs()
    const emitter = createEmitter({
      log: record.log,
      choice,
      promptTokens: request.prompt.length,
      maxTokens: request.maxTokens,
      endTokenIds,
      includeStop: request.includeStop,
      returnsTrees: request.returnsTrees,
      detokenizer: tokenizer && createDetokenizer(tokenizer),
      stopChecker: request.stop.length > 0 ? createStopChecker(request.stop, request.includeStop) : undefined,
      tokenText: (token) => ({
        text: tokenizer?.tokenText(token) ?? '',
        bytes: [...(tokenizer?.tokenBytes(token) ?? [])],
      }),
      now: () => clock.monotonicMs(),
      onToken: (numTokens, sinceLastMs, isFirst) => metrics.tokens(numTokens, sinceLastMs, isFirst),
      onFinished: (ending) => {
        metrics.requestFinished(ending.reason, clock.monotonicMs() - startedMs)
        requests.choiceFinished(record)
      },
      onFailed: (error) => {
        metrics.requestFinished(
          ClusterError.from(error).code === 'cancelled' ? 'abort' : 'error',
          clock.monotonicMs() - startedMs,
        )
        requests.fail(record, ClusterError.from(error))
      },
    })
    return {
      id: `${deps.id}.${deps.incarnation}.${record.id}.${choice}`.slice(-200),
      choice,
      promptLength: request.prompt.length,
      sampling: request.sampling,
      limits: { maxTokens: request.maxTokens, endTokenIds },
      drafts: request.drafts && options.limits.draft.length > 0,
      tenant,
      returnsTrees: request.returnsTrees,
      traceparent: record.span && traceparentOf(record.span),
      emitter,
      tokens: [...request.prompt],
      base: 0,
      epoch: 0,
      accepted: [],
      prefix: undefined,
      cachedTokens: 0,
      restarts: 0,
      draftedUpTo: 0,
      hidden: undefined,
      stats: noStats(),
    }
  }

  async function* generate(
    input: GenerateInput,
    { signal, deadlineMs }: { readonly signal: AbortSignal; readonly deadlineMs?: number | undefined },
  ): AsyncGenerator<GenerateEvent> {
    const id =
      input.requestId === undefined || input.requestId === '' ? `req-${randomHex(random, 32)}` : input.requestId
    if (id.length > 128)
      throw new ClusterError('invalid_argument', `request id: want at most 128 characters, got ${id.length}`)
    const bodyHash = hashBody(input)
    const record = requests.find(id, bodyHash) ?? start(input, id, bodyHash, deadlineMs)
    yield* record.log.read(signal)
  }

  return {
    version: VERSION,
    model,
    fingerprint,
    generate,
    cancel: (requestId) => {
      const record = requests.get(requestId)
      if (record === undefined || record.log.isClosed) return false
      requests.fail(record, new ClusterError('cancelled', `request ${requestId}: cancelled`))
      return true
    },
    lookup: (requestId) => {
      const record = requests.get(requestId)
      return record && requestState(record)
    },
    status: () => ({
      model: model.id,
      fingerprint: fingerprint(),
      epoch: placement.epoch,
      processes: membership.processes(),
      requests: { running: workers.numRunning, waiting: workers.numWaiting },
      stepCost: describeCost(options.stepCost()),
    }),
    isReady,
    tokenize: (text) => promptTokens(checkpoint, { kind: 'text', text }),
    detokenize: (tokens) => {
      if (checkpoint.tokenizer === undefined) throw noTokenizer()
      return checkpoint.tokenizer.decode(tokens)
    },
    metrics: () => {
      metrics.gauges({ running: workers.numRunning, waiting: workers.numWaiting, kvUsage: workers.kvUsage })
      const cost = options.stepCost()
      if (cost !== undefined) metrics.stepCost(cost)
      return metrics.text()
    },
    drain: async (timeoutMs) => {
      isDraining = true
      await requests.whenIdle(timeoutMs)
    },
    stop: () => {
      isDraining = true
      workers.stop()
    },
  }
}

/** 53 bits, so that JSON carries it as a number. */
const drawSeed = (random: Random): bigint => BigInt(Math.floor(random() * 2 ** 53))

export const noTokenizer = (): ClusterError =>
  new ClusterError('failed_precondition', 'this model has no tokenizer; send and read token ids', {
    details: { reason: 'NO_TOKENIZER' },
  })
