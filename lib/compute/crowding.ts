// How many helpers compute. Threads wait for one another at the end of every phase, so where other processes want the
// cores, one that was put aside keeps all others waiting: on two crowded cores two threads are slower than one. An engine
// looks how long its threads wait for a core, lets helpers rest while that is long, and tries again later.
//
// Invariants
//   C1  How many compute decides nothing but time.
//   C2  Tries get rarer while the cores stay crowded, so that they cost little; once they are free, helpers are back within
//       MOST_PAUSE_MS.

/** Milliseconds since a thread began. */
export interface ThreadTimes {
  readonly ranMs: number
  readonly waitedMs: number // for a core
}

export interface CrowdingOptions {
  readonly numHelpers: number
  /** Of all threads, the caller's first; undefined where the system does not tell, or not yet. */
  readonly times: () => readonly ThreadTimes[] | undefined
  readonly nowMs: () => number
  readonly setActive: (numHelpers: number) => void
}

const LOOK_MS = 50
const LEAST_MS = 10 // of work since the last look: less says nothing
const SMOOTHING = 0.3 // of a look, among those since helpers last changed: a single one says little
/** Threads that wait for a core at a time. Alone on two cores, two wait 0.1 to 0.4; beside one that computes, 0.6 and more. */
const crowdedFrom = (numThreads: number): number => Math.max(0.4, 1.2 / numThreads)
const CALM = 20 // looks after which the cores count as free again
const FIRST_PAUSE_MS = 200
export const MOST_PAUSE_MS = 5_000

/** What to call between runs: it looks once in a while. */
export function createCrowding({ numHelpers, times, nowMs, setActive }: CrowdingOptions): () => void {
  const crowded = crowdedFrom(numHelpers + 1)
  let active = numHelpers
  let smoothed = 0
  let numCalm = 0 // looks in a row
  let nextLookMs = 0
  let nextTryMs = 0
  let pauseMs = FIRST_PAUSE_MS
  let before: readonly ThreadTimes[] | undefined

  const change = (next: number): void => {
    active = next
    smoothed = numCalm = 0
    setActive(next)
  }

  const rest = (numWaiting: number): void => {
    change(Math.max(0, active - Math.max(1, Math.round(numWaiting))))
    nextTryMs = nowMs() + pauseMs
    pauseMs = Math.min(MOST_PAUSE_MS, pauseMs * 2)
  }

  return () => {
    const now = nowMs()
    if (now < nextLookMs) return
    nextLookMs = now + LOOK_MS
    const after = times()
    const numWaiting = after && before && waitingBetween(before, after)
    before = after
    if (numWaiting === undefined) return
    numCalm = numWaiting < crowded ? numCalm + 1 : 0
    smoothed += SMOOTHING * (numWaiting - smoothed)
    if (smoothed > crowded && active > 0) rest(smoothed)
    else if (active < numHelpers && now >= nextTryMs) change(active + 1)
    else if (active === numHelpers && numCalm >= CALM) pauseMs = FIRST_PAUSE_MS
  }
}

/** How many threads waited for a core at a time while there was work; undefined where there was too little. */
function waitingBetween(before: readonly ThreadTimes[], after: readonly ThreadTimes[]): number | undefined {
  let [waited, longest] = [0, 0]
  for (const [i, { ranMs, waitedMs }] of after.entries()) {
    const since = before[i] ?? { ranMs: 0, waitedMs: 0 }
    waited += waitedMs - since.waitedMs
    longest = Math.max(longest, ranMs - since.ranMs + waitedMs - since.waitedMs)
  }
  return longest < LEAST_MS ? undefined : waited / longest
}
