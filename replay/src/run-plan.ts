// Sends a plan's requests when they are due.
//
// Invariants
//   N1  No request is sent before it is due, and none because another was answered unless the plan says so (S1).
//   N2  Open loop: where more requests run than the bound allows, the next one is not held back: it is given up and
//       counted, so that an endpoint that cannot keep up never slows the load down.
//   N3  After an abort nothing more is sent; the run ends when what was sent has ended.

import type { ReplayClock } from './clock.js'
import type { Plan, PlannedRequest } from './schedule.js'

export interface Dispatch {
  readonly planned: PlannedRequest
  readonly scheduledMs: number // from the run's start; in a closed loop the moment it was sent
  readonly sentMs: number
}

export interface RunPlanOptions {
  readonly clock: ReplayClock
  readonly startMs: number // the run's start, on the monotonic clock
  readonly signal: AbortSignal
  readonly maxInFlight: number
  /** Called before a request is due, so that what can be done beforehand does not make it late. */
  readonly prepare: (planned: PlannedRequest) => void
  /** Resolves when the request has ended, in whatever way; never rejects. */
  readonly send: (dispatch: Dispatch) => Promise<void>
  readonly giveUp: (dispatch: Dispatch) => void
}

export function runPlan(plan: Plan, options: RunPlanOptions): Promise<void> {
  const { clock, startMs, signal, prepare } = options
  const isClosed = plan.pace.kind === 'concurrency'
  const limit = plan.pace.kind === 'concurrency' ? plan.pace.limit : options.maxInFlight
  const due = createQueue()
  const waiting = new Map<number, PlannedRequest[]>() // by the request they wait for
  let numInFlight = 0
  let cancelTimer = (): void => undefined
  const now = (): number => clock.monotonicMs() - startMs

  for (const planned of plan.requests) {
    if (planned.after === undefined) due.add(planned, planned.atMs)
    else waiting.set(planned.after.index, [...(waiting.get(planned.after.index) ?? []), planned])
  }

  return new Promise((resolve) => {
    const release = ({ index }: PlannedRequest): void => {
      for (const next of waiting.get(index) ?? [])
        due.add(next, Math.max(next.atMs, now() + (next.after?.thinkMs ?? 0)))
      waiting.delete(index)
    }
    const start = (planned: PlannedRequest, dueMs: number): void => {
      prepare(planned)
      const sentMs = now()
      const dispatch = { planned, scheduledMs: isClosed ? sentMs : dueMs, sentMs }
      if (numInFlight >= limit) {
        options.giveUp(dispatch)
        release(planned)
        return
      }
      numInFlight += 1
      void options.send(dispatch).then(() => {
        numInFlight -= 1
        release(planned)
        pump()
      })
    }
    const pump = (): void => {
      cancelTimer()
      while (!signal.aborted) {
        const next = due.first()
        if (next === undefined || next.dueMs > now() || (isClosed && numInFlight >= limit)) break
        due.takeFirst()
        start(next.planned, next.dueMs)
      }
      const next = signal.aborted ? undefined : due.first()
      if (next !== undefined) prepare(next.planned)
      if (next === undefined && numInFlight === 0) end()
      else if (next !== undefined && !(isClosed && numInFlight >= limit))
        cancelTimer = clock.after(Math.max(0, Math.ceil(next.dueMs - now())), pump)
    }
    const end = (): void => {
      signal.removeEventListener('abort', pump)
      resolve()
    }
    signal.addEventListener('abort', pump)
    pump()
  })
}

interface Due {
  readonly planned: PlannedRequest
  readonly dueMs: number
}

/** By time, then by place in the trace. Most arrive in order already: added from the back. */
function createQueue() {
  const items: Due[] = []
  let taken = 0
  return {
    first: (): Due | undefined => items[taken],
    takeFirst: (): void => {
      taken += 1
      if (taken < 1024) return
      items.splice(0, taken)
      taken = 0
    },
    add: (planned: PlannedRequest, dueMs: number): void => {
      let at = items.length
      for (; at > taken; at--) {
        const before = items[at - 1]
        if (before === undefined || before.dueMs < dueMs) break
        if (before.dueMs === dueMs && before.planned.index < planned.index) break
      }
      items.splice(at, 0, { planned, dueMs })
    },
  }
}
