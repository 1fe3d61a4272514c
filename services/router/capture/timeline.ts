// When what happened to a request, in milliseconds after its arrival, by one monotonic clock. Where it arrived at another
// router its arrival is that one's wall clock, the rest ours. Tokens of an earlier run have the times of that run where
// they are known, else none: never that of their being given again.

import type { Clock } from '../../../lib/actor/actor.js'

export interface Timeline {
  readonly arrivalUnixMs: number
  readonly beganMs: number // when it arrived at this router, on the monotonic clock
  nowMs(): number
  /** It had arrived before, at another router: what happened here happened later by as much. */
  arrivedAt(unixMs: number): void
  /** So many tokens of a choice became readable at once. */
  chunk(choice: number, numTokens: number): void
  /** Per choice [ms, tokens], in order. */
  readonly chunks: readonly (readonly (readonly [number, number])[])[]
  /** It ran here before, and was left: the tokens of then have their times already. */
  goesOn(earlier: EarlierRun): void
  /** While this runs, chunks are of tokens that were there before. */
  givesAgain<T>(give: () => T): T
  /** Per choice the tokens that are in no chunk. */
  readonly numUntimed: readonly (number | undefined)[]
  /** Rows of it go into a step. */
  scheduled(this: void): void
  readonly scheduledMs: number | undefined // for the first time here
  readonly firstTokenMs: number | undefined // absent, too, where its time is not known
  readonly lastTokenMs: number | undefined
}

export interface EarlierRun {
  readonly arrivalUnixMs: number
  readonly chunks: Timeline['chunks']
}

/** `waitedMs`: since when the request is here already. */
export function createTimeline(clock: Clock, waitedMs = 0): Timeline {
  const beganMs = clock.monotonicMs() - waitedMs
  const beganUnixMs = clock.now() - waitedMs
  let earlierMs = 0
  const chunks: [number, number][][] = []
  let scheduledMs: number | undefined
  let firstTokenMs: number | undefined
  let lastTokenMs: number | undefined
  let earlier: EarlierRun | undefined
  let isGivenAgain = false
  const numUntimed: number[] = []

  const hereMs = (): number => Math.max(0, clock.monotonicMs() - beganMs)
  const sinceArrival = (ms: number): number => round(Math.max(0, ms + earlierMs))

  const note = (choice: number, atMs: number, numTokens: number): void => {
    if (!numUntimed.some((count) => count > 0)) firstTokenMs = Math.min(firstTokenMs ?? atMs, atMs)
    lastTokenMs = Math.max(lastTokenMs ?? atMs, atMs)
    ;(chunks[choice] ??= []).push([atMs, numTokens])
  }

  /** As that run saw them; a chunk of which it journaled a part is cut. */
  const noteEarlier = (choice: number, numTokens: number): void => {
    let left = numTokens
    for (const [ms, count] of chunks[choice] === undefined ? (earlier?.chunks[choice] ?? []) : []) {
      const taken = Math.min(left, count)
      if (taken > 0) note(choice, ms + (earlier?.arrivalUnixMs ?? 0) - beganUnixMs, taken)
      left -= taken
    }
    if (left > 0) numUntimed[choice] = (numUntimed[choice] ?? 0) + left
  }

  return {
    get arrivalUnixMs() {
      return round(beganUnixMs - earlierMs)
    },
    beganMs,
    nowMs: () => sinceArrival(hereMs()),
    arrivedAt: (unixMs) => {
      earlierMs = Math.max(0, beganUnixMs - unixMs)
    },
    chunk: (choice, numTokens) => {
      if (isGivenAgain) noteEarlier(choice, numTokens)
      else note(choice, hereMs(), numTokens)
    },
    goesOn: (run) => {
      earlier = run
    },
    givesAgain: (give) => {
      isGivenAgain = true
      try {
        return give()
      } finally {
        isGivenAgain = false
      }
    },
    numUntimed,
    scheduled: () => {
      scheduledMs ??= hereMs()
    },
    get scheduledMs() {
      return scheduledMs === undefined ? undefined : sinceArrival(scheduledMs)
    },
    get chunks() {
      return Array.from(chunks, (one) => (one ?? []).map(([ms, count]): [number, number] => [sinceArrival(ms), count]))
    },
    get firstTokenMs() {
      return firstTokenMs === undefined ? undefined : sinceArrival(firstTokenMs)
    },
    get lastTokenMs() {
      return lastTokenMs === undefined ? undefined : sinceArrival(lastTokenMs)
    },
  }
}

const round = (ms: number): number => Math.round(ms * 1000) / 1000
