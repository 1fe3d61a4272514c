// Replays a plan against an endpoint and returns what came of every request that was sent.

import { setMaxListeners } from 'node:events'
import { counted } from './counted.js'
import { given, type PromptOf } from './prompts.js'
import type { Call, PreparedCall, ReplayClient } from './clients/client.js'
import type { ReplayClock } from './clock.js'
import { RequestFailure } from './errors.js'
import { measureCall, type Answer, type TimeLimits } from './measure.js'
import { runPlan, type Dispatch } from './run-plan.js'
import type { Plan, PlannedRequest } from './schedule.js'
import type { TraceRequest, TraceSampling } from './trace.js'

export const DEFAULT_LIMITS: TimeLimits = { firstByteMs: 60_000, chunkMs: 60_000, requestMs: 600_000 }
export const DEFAULT_MAX_IN_FLIGHT = 4096

export interface ReplayOptions {
  readonly client: ReplayClient
  readonly clock: ReplayClock
  readonly limits?: TimeLimits
  readonly maxInFlight?: number // of an open loop; what is due beyond it is given up and counted
  readonly signal?: AbortSignal
  /** Whether a request's answer is to end by itself, as it did when it was recorded; otherwise its length is forced. */
  readonly endsByItself?: (request: TraceRequest) => boolean
  /** Makes prompts of requests whose trace tells only lengths (`createPrompts`). */
  readonly promptOf?: PromptOf
  readonly model?: string | undefined // absent: the endpoint's only one
  readonly keepsOutput?: boolean // false: answers have no texts and ids, only their numbers (default: true)
  readonly onProgress?: (progress: ReplayProgress) => void
}

export interface ReplayProgress {
  readonly planned: number
  readonly sent: number
  readonly done: number
  readonly failed: number
  readonly inFlight: number
  readonly elapsedMs: number
  readonly latenessMs: number // of the latest request
}

export interface ReplayRun {
  readonly plan: Plan
  readonly answers: readonly Answer[] // of what was sent or given up, in the plan's order
  readonly startUnixMs: number
  readonly durationMs: number
  readonly wasCancelled: boolean
  readonly refusals?: readonly string[] // what was not sent as the trace has it, because the endpoint does not take it
  readonly notes?: readonly string[] // what else a report has to say of how it was sent
}

/** Never rejects for what an endpoint does: that is in the answers. */
export async function replay(plan: Plan, options: ReplayOptions): Promise<ReplayRun> {
  const { clock, limits = DEFAULT_LIMITS, keepsOutput = true } = options
  const own = ownSignal(options.signal)
  const { signal } = own
  const startMs = clock.monotonicMs()
  const startUnixMs = clock.now()
  const answers: Answer[] = []
  const calls = new Map<number, ReadyCall>() // prepared, not yet sent
  const counts = { sent: 0, failed: 0, inFlight: 0 }

  const prepare = (planned: PlannedRequest): ReadyCall => {
    const ready = calls.get(planned.index) ?? prepareCall(planned, options)
    calls.set(planned.index, ready)
    return ready
  }
  const tell = ({ scheduledMs, sentMs }: Dispatch): void =>
    options.onProgress?.({
      planned: plan.requests.length,
      ...counts,
      done: answers.length,
      elapsedMs: clock.monotonicMs() - startMs,
      latenessMs: sentMs - scheduledMs,
    })
  const keep = (answer: Answer): void => {
    answers.push(answer)
    if (answer.failure !== undefined) counts.failed += 1
    tell(answer.dispatch)
  }

  const done = runPlan(plan, {
    clock,
    startMs,
    signal,
    maxInFlight: options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT,
    prepare,
    send: async (dispatch) => {
      const ready = prepare(dispatch.planned)
      calls.delete(dispatch.planned.index)
      counts.sent += 1
      counts.inFlight += 1
      tell(dispatch)
      const answer = await measureCall({ ...ready, dispatch }, { clock, startMs, limits, signal, keepsOutput })
      counts.inFlight -= 1
      keep(answer)
    },
    giveUp: (dispatch) => {
      const id = calls.get(dispatch.planned.index)?.id ?? clock.newId()
      calls.delete(dispatch.planned.index)
      keep(givenUp(id, dispatch))
    },
  })
  await done.finally(() => own.release())
  return {
    plan,
    answers: answers.sort((a, b) => a.dispatch.planned.index - b.dispatch.planned.index),
    startUnixMs,
    durationMs: clock.monotonicMs() - startMs,
    wasCancelled: signal.aborted && (answers.length < plan.requests.length || answers.some(isCancelled)),
    refusals: options.client.refusals?.() ?? [],
    notes: notesOf(plan, options),
  }
}

/** A signal that as many requests may listen to as there are; the caller's has one listener more. */
function ownSignal(outer: AbortSignal | undefined): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  const abort = (): void => controller.abort()
  if (outer?.aborted === true) abort()
  outer?.addEventListener('abort', abort, { once: true })
  return { signal: controller.signal, release: () => outer?.removeEventListener('abort', abort) }
}

const isCancelled = ({ failure }: Answer): boolean => failure?.kind === 'cancelled'

interface ReadyCall {
  readonly id: string
  readonly call: PreparedCall
}

function prepareCall(
  { request }: PlannedRequest,
  { client, clock, model, promptOf = given, endsByItself }: ReplayOptions,
): ReadyCall {
  const id = `replay-${clock.newId()}`
  try {
    const sampling = endsByItself?.(request) === true ? asRecorded(request) : forceLength(request)
    const call: Call = { id, prompt: promptOf(request), sampling, model }
    return { id, call: client.prepare(call) }
  } catch (error) {
    return { id, call: () => fail(RequestFailure.from(error)) }
  }
}

// eslint-disable-next-line require-yield -- it is a stream that has only its failure
async function* fail(failure: RequestFailure): AsyncGenerator<never> {
  throw failure
}

const MIN_TOKENS = 1 // that can be asked for; an endpoint that is told no bound writes as long as it likes

/** As many tokens as were recorded, whatever the model would say. */
function forceLength({ sampling, outputTokens }: TraceRequest): TraceSampling {
  if (outputTokens === undefined) return sampling
  const numTokens = Math.max(MIN_TOKENS, outputTokens)
  const ends = { stop: [], stopTokenIds: [], ignoreEos: true }
  return { ...sampling, ...ends, maxTokens: numTokens, minTokens: numTokens }
}

/** The parameters that were in force. Of an answer that broke off no more is asked for than there was. */
function asRecorded({ sampling, recorded }: TraceRequest): TraceSampling {
  if (recorded?.isWhole !== false) return sampling
  const maxTokens = Math.max(1, ...recorded.numTokens)
  return { ...sampling, maxTokens, minTokens: Math.min(sampling.minTokens ?? 0, maxTokens) }
}

/** How many tokens the first choice was made to have; undefined where the answer ended by itself. */
export const forcedTokens = (
  request: TraceRequest,
  { endsByItself }: Pick<ReplayOptions, 'endsByItself'>,
): number | undefined =>
  endsByItself?.(request) === true || request.outputTokens === undefined
    ? undefined
    : Math.max(MIN_TOKENS, request.outputTokens)

function notesOf({ requests }: Plan, options: ReplayOptions): string[] {
  const numEmpty = requests.filter(
    ({ request }) => request.outputTokens === 0 && forcedTokens(request, options) !== undefined,
  ).length
  return numEmpty > 0 ? [`${counted(numEmpty, 'request')} without output in the trace: one token is asked for`] : []
}

function givenUp(id: string, dispatch: Dispatch): Answer {
  return {
    dispatch,
    id,
    ackMs: undefined,
    endMs: dispatch.sentMs,
    choices: [],
    promptTokens: undefined,
    cachedTokens: undefined,
    completionTokens: undefined,
    fingerprint: undefined,
    failure: new RequestFailure('in_flight_limit', 'more requests were running than the bound allows: it was not sent'),
  }
}
