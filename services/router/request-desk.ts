// What a client may do with requests: begin one, go on reading one, end one, look at one. Any router answers for any
// request: what it does not have itself the journal knows.

import type { ActorDefinition } from '../../lib/actor/actor.js'
import { randomHex } from '../../lib/actor/random-id.js'
import type { RouterOptions, ServiceDeps } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { traceparentOf } from '../../lib/tracing/spans.js'
import { createMemoryStore } from '../../lib/transport/memory-store.js'
import { createAdmission } from './admission.js'
import { createArrivals } from './arrivals.js'
import type { Recorder } from './capture/recorder.js'
import type { RequestSpans } from './capture/request-span.js'
import type { SequenceMaker } from './create-sequences.js'
import type {
  GenerateEvent,
  GenerateInput,
  GenerateOptions,
  InferenceEngine,
  ModelInfo,
  RequestState,
} from './engine.js'
import { createJournal, type JournalEntry } from './journal.js'
import type { RouterMetrics } from './metrics/router-metrics.js'
import { createOtherRouters, requestActor } from './other-routers.js'
import type { PromptReader } from './prompt.js'
import { createReception, type Arrival } from './reception.js'
import { createRequestLife } from './request-life.js'
import { createRequestLog, firstNews } from './request-log.js'
import {
  createRequests,
  hashBody,
  isDetached,
  isLeft,
  outcomeOf,
  requestState,
  unknownRequest,
  type RequestName,
  type RequestRecord,
  type Requests,
} from './requests.js'
import { createUnstartedCount } from './metrics/unstarted.js'
import type { AttentionWorkers } from './workers.js'

const LOOKUP_MS = 2_000

export interface RequestDeskOptions {
  readonly deps: ServiceDeps
  readonly checkpoint: Checkpoint
  readonly model: ModelInfo
  readonly prompts: Pick<PromptReader, 'prompt'>
  readonly limits: RouterOptions
  readonly workers: AttentionWorkers
  readonly metrics: Pick<RouterMetrics, 'requests' | 'metered'>
  readonly recorder: Recorder
  readonly spans: RequestSpans
  readonly fingerprint: () => string
  /** Throws where this router serves nobody now. */
  /** Throws where a request cannot be taken; `isOurs`: this router ran it before. */
  readonly checkServing: (about?: { readonly isOurs: boolean }) => void
}

export interface RequestDesk extends Pick<InferenceEngine, 'generate' | 'resume' | 'cancel' | 'lookup'> {
  readonly actor: ActorDefinition
  readonly requests: Pick<Requests, 'all' | 'get' | 'numOpen'>
  whenIdle(timeoutMs: number): Promise<void>
  /** Ends every open request with an error. */
  endAll(this: void, error: ClusterError): void
  leave(): void
}

export function createRequestDesk(options: RequestDeskOptions): RequestDesk {
  const { deps, checkpoint, model, workers, recorder, spans } = options
  const { requests: metrics, metered } = options.metrics
  const { clock, random } = deps.system
  const journal = createJournal(metered(deps.records ?? createMemoryStore()))
  const unstarted = createUnstartedCount(metrics, clock)
  const requests = createRequests({
    clock,
    cancelSequences: (sequences) => workers.cancel(sequences),
    onForgotten: (record) => {
      if (record.journaled === undefined || isLeft(record)) return // others have it, or may want it
      void journal.forget(record.journaled.entry).catch(() => undefined) // it expires there by itself
    },
    onResume: () => workers.kick(),
    onEnded: (record) => {
      unstarted.ended(record)
      recorder.ended(record)
      spans.end(record)
    },
  })
  const admission = createAdmission({ backlog: workers, maxWaiting: options.limits.maxWaiting, clock })
  const reception = createReception({ ...options, clock, random, metrics, admission })
  const arrivals = createArrivals(clock)
  const maker: SequenceMaker = {
    checkpoint,
    idPrefix: `${deps.id}.${deps.incarnation}`,
    mayDraft: options.limits.draft.length > 0,
    now: () => clock.monotonicMs(),
    keepRoutes: recorder.keepRoutes,
    onToken: (record, numTokens, sinceLastMs, isFirst) => {
      metrics.tokens(numTokens, sinceLastMs, isFirst)
      record.journaled?.tokens(numTokens)
    },
    onFinished: (record, { ending, tookMs, times }) => {
      metrics.finished(ending.reason, tookMs, times)
      requests.choiceFinished(record)
    },
    onFailed: (record, error, tookMs) => {
      const failure = ClusterError.from(error)
      metrics.finished(outcomeOf(failure) === 'cancelled' ? 'abort' : 'error', tookMs)
      requests.fail(record, failure)
    },
  }
  const others = createOtherRouters(deps.system)
  let isLeaving = false
  const life = createRequestLife({
    router: deps.id,
    incarnation: deps.incarnation,
    model: model.id,
    fingerprint: options.fingerprint,
    clock,
    logger: deps.logger,
    journal,
    others,
    requests,
    maker,
    isLeaving: () => isLeaving,
    onTakenOver: () => metrics.takenOver(),
    onRun: (record) => recorder.began(record),
    submit: (sequences) => workers.submit(sequences),
    withdraw: (sequences) => workers.cancel(sequences),
  })

  const open = (name: RequestName, about: { isChat: boolean; parent?: string | undefined }): RequestRecord => {
    const record = requests.open(name)
    record.span = spans.start({ id: name.id, ...about })
    record.traceparent = traceparentOf(record.span)
    return record
  }

  const start = (input: GenerateInput, name: RequestName, arrival: Arrival): RequestRecord => {
    const { arrivedMs } = arrival
    const { request, applicant } = reception.admit(input, name, arrival)
    const { door, session, traceparent: parent } = input
    const isChat = input.prompt.kind === 'chat'
    const record = open({ ...name, waitedMs: clock.monotonicMs() - arrivedMs }, { isChat, parent })
    metrics.accepted(request.prompt.length)
    unstarted.accepted(record)
    admission.note(applicant, () => record.sequences.length > 0 || record.runsAt !== undefined || record.log.isClosed)
    void life.begin(record, request, { deadlineMs: name.deadlineMs, fingerprint: options.fingerprint(), door, session })
    return record
  }

  async function* generate(
    input: GenerateInput,
    { signal, deadlineMs, charge }: GenerateOptions,
  ): AsyncGenerator<GenerateEvent> {
    const id = input.requestId || `req-${randomHex(random, 32)}`
    if (id.length > 128)
      throw new ClusterError('invalid_argument', `request id: want at most 128 characters, got ${id.length}`)
    const name = { id, tenant: input.tenant ?? '', bodyHash: hashBody(input), deadlineMs }
    let record = requests.find(name, name.bodyHash)
    if (record === undefined) {
      const arrival = await arrivals.during(name, signal, (ends) => reception.read(input, { charge, signal: ends }))
      record = requests.find(name, name.bodyHash) ?? start(input, name, arrival) // asked twice meanwhile
    }
    yield* record.log.read(signal)
  }

  const load = async (tenant: string, id: string): Promise<JournalEntry | undefined> => {
    try {
      return await journal.load(tenant, id)
    } catch (error) {
      const failure = ClusterError.from(error)
      if (!failure.isRetryable) throw failure
      const details = { reason: 'JOURNAL_UNREACHABLE' }
      throw new ClusterError('unavailable', `request ${id}: ${failure.message}`, { details, cause: error })
    }
  }

  /** A request that this router has, or takes part in from now on. Throws `not_found` where nobody knows it. */
  const locate = async (tenant: string, id: string): Promise<RequestRecord> => {
    const known = requests.get(tenant, id)
    if (known !== undefined && !isLeft(known) && !isDetached(known)) return known
    options.checkServing({ isOurs: known !== undefined && !isDetached(known) })
    const entry = await load(tenant, id)
    if (entry === undefined) throw unknownRequest(id)
    const { bodyHash, deadlineMs } = entry.record // the request's own: a reader's ends its reading alone
    const name = { id, tenant, bodyHash, deadlineMs }
    const found = requests.find(name, bodyHash) // somebody else may have asked meanwhile
    if (found !== undefined) return found
    const record = open(name, { isChat: entry.record.door === 'chat' })
    void life.adopt(record, { isAskedAgain: false })
    return record
  }

  async function* resume(
    { requestId, tenant, held }: Parameters<InferenceEngine['resume']>[0],
    { signal }: Parameters<InferenceEngine['resume']>[1],
  ): AsyncGenerator<GenerateEvent> {
    const record = await locate(tenant, requestId)
    yield* record.log.read(signal, held)
  }

  const cancelHere = (record: RequestRecord): void => requests.fail(record, cancelled(record.id))

  const cancel = async (requestId: string, tenant: string): Promise<boolean | undefined> => {
    const name = { id: requestId, tenant }
    const record = requests.get(tenant, requestId)
    const isRunning = record !== undefined && !record.log.isClosed
    const isOpen = isRunning || arrivals.has(name)
    if (isRunning && record.runsAt === undefined) cancelHere(record)
    arrivals.end(name, cancelled(requestId))
    if (record?.journaled !== undefined && !isLeft(record)) return isOpen
    const entry = await load(tenant, requestId)
    if (entry === undefined) return isOpen ? true : record && false
    const { state, owner } = entry.record
    if (state !== 'running' && state !== 'left') return isOpen
    const wasRunning = await others.cancel(name, owner)
    if (wasRunning === true) return true
    // Nobody runs it, and now nobody will: a router that wakes finds that it does not own it any more.
    const nobody = { router: deps.id, incarnation: deps.incarnation, run: 0 }
    await journal.change(entry, { state: 'cancelled', owner: nobody })
    return state === 'running'
  }

  const lookup = async (id: string, tenant: string): Promise<RequestState | undefined> => {
    const known = requests.get(tenant, id)
    if (known !== undefined && !isDetached(known)) return requestState(known)
    const entry = await load(tenant, id)
    if (entry === undefined) return arrivals.has({ id, tenant }) ? arriving(id) : undefined
    const { owner, request } = entry.record
    const followed = await others.follow({ id, tenant }, owner, [])
    if (followed !== undefined) {
      const log = createRequestLog(clock)
      for (const event of followed.events) log.append(event)
      const { isClosed, error } = followed
      const outcome = !isClosed ? 'running' : error === undefined ? 'finished' : outcomeOf(error)
      return requestState({ id, log, outcome, numChoices: request.n })
    }
    // Its router is gone: it goes on here; one that its client left is only looked at.
    const record = await locate(tenant, id)
    const release = entry.record.state === 'left' ? record.log.hold() : undefined
    await firstNews(record.log, clock, LOOKUP_MS)
    const state = requestState(record)
    release?.()
    return state
  }

  return {
    generate,
    resume,
    cancel,
    lookup,
    requests,
    actor: requestActor({
      router: deps.id,
      incarnation: deps.incarnation,
      system: deps.system,
      requests,
      cancel: cancelHere,
    }),
    whenIdle: (timeoutMs) => requests.whenIdle(timeoutMs),
    endAll: (error) => requests.failAll(error),
    leave: () => {
      isLeaving = true
      requests.failAll(leaving('another one goes on with the request'))
      arrivals.endAll(leaving('try another one'))
    },
  }
}

const cancelled = (id: string): ClusterError => new ClusterError('cancelled', `request ${id}: cancelled`)

const leaving = (what: string): ClusterError =>
  new ClusterError('unavailable', `this router is leaving; ${what}`, { details: { reason: 'ROUTER_LEAVING' } })

/** A request of which nothing is known yet but that its prompt is being read. */
const arriving = (requestId: string): RequestState => ({ requestId, state: 'running', choices: [] })
