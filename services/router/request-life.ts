// Where a request runs, from its acceptance to its end: here, at another router whose events are passed on, or here again
// because that one is gone. Readers of its log notice none of it.
//
// Invariants
//   J6  A request runs on the router that owns its record, and on no other for longer than it takes that one to notice.
//   J7  Only a request whose owner does not answer is taken over, by compare-and-set; both would give the same (I1).

import type { Clock } from '../../lib/actor/actor.js'
import { pause } from '../../lib/actor/until.js'
import type { Logger } from '../../lib/config/service.js'
import { ClusterError, isErrorCode } from '../../lib/errors.js'
import { spanContextOf } from '../../lib/tracing/spans.js'
import { createSequences, keepsTokens, type SequenceMaker } from './create-sequences.js'
import type { GenerateEvent } from './engine.js'
import { samplingMessage } from './forward.js'
import {
  isOvertaken,
  isSameOwner,
  packTokens,
  unpackTokens,
  type Journal,
  type JournalEntry,
  type JournalRecord,
  type Owner,
} from './journal.js'
import { createJournaledRun } from './journaled-run.js'
import type { OtherRouters } from './other-routers.js'
import { checkBody, endingOf, meansLeft, unknownRequest, type RequestRecord, type Requests } from './requests.js'
import type { Sequence } from './sequence.js'
import type { ValidRequest } from './validate.js'

const POLL_MS = 25
const PAUSED_POLL_MS = 1_000
const RETRY_MS = 100
const RECOVERY_MS = 30_000 // how long the store or the bus may be away

export interface RequestLife {
  /** Journals a new request, then accepts and runs it; one whose id is known is adopted. Failures end the record. */
  begin(record: RequestRecord, request: ValidRequest, about: NewRequest): Promise<void>
  /** Takes part in a request that the journal knows: where its owner lives by passing its events on, else by running it. */
  adopt(record: RequestRecord, options: AdoptOptions): Promise<void>
}

export interface NewRequest {
  readonly deadlineMs: number | undefined
  readonly fingerprint: string
  readonly door: string | undefined
  readonly session?: string | undefined
}

export interface AdoptOptions {
  readonly isAskedAgain: boolean // what ended badly is run anew; else its end is given again
}

interface Attempt extends AdoptOptions {
  readonly gone: Owner | undefined // that did not answer
  readonly renew: () => void // store and bus answer: patience begins anew
}

export interface RequestLifeOptions {
  readonly router: string
  readonly incarnation: string
  readonly model: string
  readonly fingerprint: () => string
  readonly clock: Clock
  readonly logger: Logger
  readonly journal: Journal
  readonly others: OtherRouters
  readonly requests: Requests
  readonly maker: SequenceMaker
  readonly isLeaving: () => boolean
  readonly onTakenOver?: (() => void) | undefined
  readonly onRun?: ((record: RequestRecord) => void) | undefined // it is this router's, and begins to run
  readonly submit: (sequences: readonly Sequence[]) => void
  readonly withdraw: (sequences: readonly Sequence[]) => void
}

export function createRequestLife(options: RequestLifeOptions): RequestLife {
  const { router, incarnation, clock, journal, others, requests } = options
  let numRuns = 0

  const nextOwner = (): Owner => ({ router, incarnation, run: (numRuns += 1) })

  const begin: RequestLife['begin'] = async (record, request, about) => {
    record.numChoices = request.n
    record.accepted = { request, fingerprint: about.fingerprint, session: about.session }
    try {
      run(record, await journal.accept(describeRequest(record, request, { ...about, owner: nextOwner(), clock })))
    } catch (error) {
      const failure = ClusterError.from(error)
      if (failure.code === 'already_exists') await adopt(record, { isAskedAgain: true })
      else requests.fail(record, failure)
    }
  }

  const adopt: RequestLife['adopt'] = async (record, adoptOptions) => {
    record.accepted = undefined
    let giveUpMs = clock.monotonicMs() + RECOVERY_MS
    const renew = (): void => void (giveUpMs = clock.monotonicMs() + RECOVERY_MS)
    let isAskedAgain = adoptOptions.isAskedAgain
    let gone: Owner | undefined // did not answer
    while (!record.log.isClosed) {
      try {
        const next = await tryAdopt(record, { isAskedAgain, gone, renew })
        if (next === undefined) return
        gone = next
        isAskedAgain = false // it ran: if it ends badly now, that is its end
      } catch (error) {
        const failure = ClusterError.from(error)
        if (isOvertaken(failure)) continue // somebody else was faster: see who
        if (!failure.isRetryable || clock.monotonicMs() > giveUpMs) return requests.fail(record, failure)
        await pause(clock, RETRY_MS)
      }
    }
  }

  /** Undefined when the record runs, or has ended; else the owner that turned out to be gone. */
  const tryAdopt = async (
    record: RequestRecord,
    { isAskedAgain, gone, renew }: Attempt,
  ): Promise<Owner | undefined> => {
    const entry = await journal.load(record.tenant, record.id)
    renew()
    if (entry === undefined) throw unknownRequest(record.id)
    const { owner, state, request, bodyHash } = entry.record
    checkBody(record.id, bodyHash, record.bodyHash)
    record.numChoices = request.n
    record.timeline.arrivedAt(entry.record.createdUnixMs)
    const mayRunThere = (state === 'running' || state === 'finished') && owner.incarnation !== incarnation
    if (mayRunThere && (gone === undefined || !isSameOwner(gone, owner))) {
      return (await passOn(record, owner, renew)) ? undefined : owner
    }
    const now = options.fingerprint()
    const isComputed = state !== 'finished' || !keepsTokens(readRequest(entry.record))
    if (entry.record.fingerprint !== now && isComputed) {
      throw fingerprintChanged(entry.record, now)
    }
    const hasFailed = state === 'failed' || state === 'cancelled'
    if (hasFailed && !isAskedAgain) {
      requests.fail(record, storedError(entry.record))
      return undefined
    }
    const outputs = hasFailed ? [] : entry.record.outputs
    const { traceparent } = record
    const claim = { owner: nextOwner(), state: 'running', error: undefined, outputs, traceparent } as const
    const claimed = await journal.change(entry, claim)
    tellOrigin(record, entry.record)
    if (state === 'running') {
      options.logger.warn({ request: record.id, from: owner.router }, 'request taken over')
      options.onTakenOver?.()
    }
    run(record, claimed, state === 'finished')
    return undefined
  }

  /** Passes on what the owner has of the request, to its end. False where the owner is gone. */
  const passOn = async (record: RequestRecord, owner: Owner, renew: () => void): Promise<boolean> => {
    record.runsAt = owner
    try {
      while (!record.log.isClosed) {
        const followed = await others.follow(record, owner, record.log.held)
        if (followed === undefined) return false
        renew()
        const { events, isClosed, error } = followed
        if (meansLeft(error)) return false
        if (record.log.isPaused && !isClosed) {
          await pause(clock, PAUSED_POLL_MS) // whoever reads here is slow: so are we, and the owner notices by what we hold
          continue
        }
        for (const event of events) record.log.append(event)
        if (error !== undefined) requests.fail(record, error)
        else if (isClosed) requests.finished(record)
        else await pause(clock, POLL_MS)
      }
      return true
    } finally {
      record.runsAt = undefined
    }
  }

  /** Runs a request that this router owns, from the tokens that the journal has; one that had ended is given again. */
  const run = (record: RequestRecord, entry: JournalEntry, hasEnded = false): void => {
    const now = options.fingerprint() // other device classes may serve since it was accepted or claimed
    if (!hasEnded && entry.record.fingerprint !== now) requests.fail(record, fingerprintChanged(entry.record, now))
    if (record.log.isClosed) {
      // The client left or cancelled, or its deadline passed, while the journal was written.
      const { error } = record.log
      void journal.change(entry, error === undefined ? { state: 'left' } : endingOf(error)).catch(() => undefined)
      return
    }
    const request = readRequest(entry.record)
    const { fingerprint, session } = entry.record
    if (!hasEnded) record.accepted = { request, fingerprint, session } // else its end was told
    options.onRun?.(record)
    record.serial = entry.record.owner.run
    record.numChoices = record.numOpen = request.n
    record.log.append(accepted(entry.record, request, options.model))
    const outputs = entry.record.outputs.map(unpackTokens)
    const made = createSequences(options.maker, record, request, outputs)
    record.sequences = made.map(({ sequence }) => sequence)
    record.journaled = createJournaledRun({
      journal,
      clock,
      logger: options.logger,
      entry,
      outputs: () => record.sequences.map(({ tokens, promptLength }) => packTokens(tokens.slice(promptLength))),
      isLeaving: options.isLeaving,
      onOvertaken: () => giveUp(record),
    })
    for (const { sequence, ending } of made) {
      if (ending !== undefined) sequence.emitter.finish(ending, sequence.stats, 0)
    }
    options.submit(made.flatMap(({ sequence, ending }) => (ending === undefined ? [sequence] : [])))
  }

  /** Another router runs it: so does nobody here, and what that one has is passed on. */
  const giveUp = (record: RequestRecord): void => {
    if (record.log.isClosed) return
    const { sequences } = record
    for (const { emitter, routes } of sequences) {
      emitter.detach()
      routes?.drop()
    }
    record.sequences = []
    record.journaled = undefined
    options.withdraw(sequences)
    void adopt(record, { isAskedAgain: false })
  }

  return { begin, adopt }
}

const fingerprintChanged = ({ id, fingerprint }: JournalRecord, now: string): ClusterError =>
  new ClusterError(
    'failed_precondition',
    `request ${id}: it was accepted by ${fingerprint}, this is ${now}, whose answer may differ`,
    { details: { reason: 'FINGERPRINT_CHANGED' } },
  )

/** The span of a request that ran before says so, and leads to that run's. */
function tellOrigin({ span }: RequestRecord, { state, owner, traceparent }: JournalRecord): void {
  const event = state === 'running' ? 'banyan.taken_over' : 'banyan.resumed'
  span?.addEvent(event, { 'banyan.router': owner.router, 'banyan.state': state })
  const context = spanContextOf(traceparent)
  if (context !== undefined) span?.addLink({ context })
}

interface Acceptance extends NewRequest {
  readonly owner: Owner
  readonly clock: Clock
}

function describeRequest(
  { id, tenant, bodyHash, traceparent }: RequestRecord,
  { prompt, sampling, stop, ...request }: ValidRequest,
  { deadlineMs, fingerprint, door, session, owner, clock }: Acceptance,
): JournalRecord {
  return {
    version: 1,
    id,
    tenant,
    bodyHash,
    createdUnixMs: clock.now(),
    ...(deadlineMs !== undefined && { deadlineMs }),
    fingerprint,
    ...(door !== undefined && { door }),
    ...(session !== undefined && { session }),
    ...(traceparent !== undefined && { traceparent }),
    owner,
    state: 'running',
    request: { ...request, prompt: packTokens(prompt), stop: [...stop], sampling: samplingMessage(sampling) },
    outputs: [],
  }
}

const readRequest = ({ request }: JournalRecord): ValidRequest => ({
  ...request,
  prompt: unpackTokens(request.prompt),
  sampling: { ...request.sampling, seed: BigInt(request.sampling.seed) },
})

const accepted = (record: JournalRecord, { prompt, sampling }: ValidRequest, model: string): GenerateEvent => ({
  kind: 'accepted',
  requestId: record.id,
  model,
  createdUnixMs: record.createdUnixMs,
  promptTokens: prompt.length,
  cachedTokens: 0,
  fingerprint: record.fingerprint,
  seed: sampling.seed,
  ...(record.door !== undefined && { door: record.door }),
})

function storedError({ id, state, error }: JournalRecord): ClusterError {
  if (error !== undefined && isErrorCode(error.code))
    return new ClusterError(error.code, error.message, { details: error.details })
  return new ClusterError(state === 'cancelled' ? 'cancelled' : 'internal', `request ${id}: ${state}`)
}
