// When each request of a trace is sent: pure planning. The runner (`run-plan.ts`) keeps it.
//
// Invariants
//   S1  Open loop: when a request is due depends on the plan alone, never on how fast others are answered; a turn of a
//       conversation (`sessions`) waits for the turn before it, and for nothing else.
//   S2  Equal trace, options and seed: equal plan.
//   S3  Requests keep the order of the trace; times ascend.

import { createRandom, exponential, gamma } from './random.js'
import { sliceTrace, type Slice } from './slice-trace.js'
import { TraceError } from './trace-error.js'
import type { Trace, TraceRequest } from './trace.js'

export type Arrival = 'poisson' | 'gamma' | 'constant'

export type Pace =
  | { readonly kind: 'recorded'; readonly speedup: number }
  | {
      readonly kind: 'rate'
      readonly perSecond: number
      readonly arrival: Arrival
      readonly burstiness: number // shape of gamma gaps: below 1 burstier than Poisson, above smoother; CV is 1/√shape
      readonly seed: number
    }
  | { readonly kind: 'concurrency'; readonly limit: number }

export interface ScheduleOptions extends Slice {
  readonly pace: Pace
  /** Turns of one conversation wait for each other. */
  readonly sessions?: { readonly maxThinkMs: number }
}

export interface PlannedRequest {
  readonly index: number // in the plan
  readonly request: TraceRequest
  readonly atMs: number // not before this, from the replay's start
  /** Not before this request's end, and then so long. */
  readonly after?: { readonly index: number; readonly thinkMs: number }
  readonly sessionNum: number
  readonly turnIndex: number
}

export interface Plan {
  readonly pace: Pace
  readonly requests: readonly PlannedRequest[]
  readonly requestedRate: number | undefined // a second; undefined in a closed loop, or of one request
}

/** Throws `invalid_argument` where nothing is left to send, or the trace has no times to go by. */
export function planReplay(trace: Trace, options: ScheduleOptions): Plan {
  const { pace } = options
  if (trace.isUntimed === true && pace.kind === 'recorded') {
    throw new TraceError('invalid_argument', `this trace (${trace.format}) has no times: want a rate or a concurrency`)
  }
  const { requests: chosen } = sliceTrace(trace, options)
  if (chosen.length === 0) {
    throw new TraceError(
      'invalid_argument',
      `want at least one request to send, found ${trace.requests.length} in the trace and none between start and end`,
    )
  }
  const turns = placeTurns(chosen)
  const waits = options.sessions === undefined ? [] : chosen.map((_, i) => turns[i]?.before)
  const times = arrivals(chosen, pace, waits)
  const requests = chosen.map((request, index): PlannedRequest => {
    const { sessionNum = 0, turnIndex = 0 } = turns[index] ?? {}
    const before = waits[index]
    const own = { index, request, atMs: times[index] ?? 0, sessionNum, turnIndex }
    if (before === undefined) return own
    return { ...own, after: { index: before, thinkMs: thinkTime(delayOf(request, chosen[before]), options) } }
  })
  return { pace, requests, requestedRate: rateOf(pace, chosen) }
}

interface Turn {
  readonly sessionNum: number
  readonly turnIndex: number
  readonly before: number | undefined // index of the turn before it
}

function placeTurns(requests: readonly TraceRequest[]): Turn[] {
  const last = new Map<string, { readonly index: number; readonly turn: Turn }>()
  let numSessions = 0
  return requests.map(({ session }, index) => {
    const before = session === undefined ? undefined : last.get(session)
    const turn: Turn = {
      sessionNum: before?.turn.sessionNum ?? numSessions++,
      turnIndex: before === undefined ? 0 : before.turn.turnIndex + 1,
      before: before?.index,
    }
    if (session !== undefined) last.set(session, { index, turn })
    return turn
  })
}

/** A waiting turn whose think time is known is due that long after its predecessor, whenever that was at the time. */
function arrivals(requests: readonly TraceRequest[], pace: Pace, waits: readonly (number | undefined)[]): number[] {
  if (pace.kind === 'concurrency') return requests.map(() => 0)
  if (pace.kind === 'recorded') {
    return requests.map((request, i) => {
      const before = waits[i]
      const isFollowing = before !== undefined && delayOf(request, requests[before]) !== undefined
      return isFollowing ? 0 : request.arrivalMs / pace.speedup
    })
  }
  const nextGap = gaps(pace)
  let atMs = 0
  let isFirst = true
  return requests.map((_, i) => {
    if (waits[i] !== undefined) return 0
    if (!isFirst) atMs += nextGap()
    isFirst = false
    return atMs
  })
}

/** Milliseconds between two arrivals, drawn from the seed. */
function gaps({ perSecond, arrival, burstiness, seed }: Extract<Pace, { kind: 'rate' }>): () => number {
  const meanMs = 1000 / perSecond
  const random = createRandom(seed)
  if (arrival === 'constant') return () => meanMs
  if (arrival === 'poisson') return () => meanMs * exponential(random)
  return () => (meanMs * gamma(random, burstiness)) / burstiness
}

/** How long somebody thought before a turn: as told, or since the recorded end of the turn before it. */
function delayOf({ delayMs, arrivalMs }: TraceRequest, before: TraceRequest | undefined): number | undefined {
  if (delayMs !== undefined || before?.durationMs === undefined) return delayMs
  return Math.max(0, arrivalMs - before.arrivalMs - before.durationMs)
}

function thinkTime(delayMs: number | undefined, { pace, sessions }: ScheduleOptions): number {
  const speedup = pace.kind === 'recorded' ? pace.speedup : 1
  return Math.min((delayMs ?? 0) / speedup, sessions?.maxThinkMs ?? Infinity)
}

function rateOf(pace: Pace, requests: readonly TraceRequest[]): number | undefined {
  if (pace.kind === 'concurrency') return undefined
  if (pace.kind === 'rate') return pace.perSecond
  const spanMs = ((requests.at(-1)?.arrivalMs ?? 0) - (requests[0]?.arrivalMs ?? 0)) / pace.speedup
  return spanMs > 0 ? ((requests.length - 1) * 1000) / spanMs : undefined
}
