// When what happened to a request, in milliseconds after its arrival, by one monotonic clock. Where it arrived at another
// router its arrival is that one's wall clock, the rest ours.

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
  /** Rows of it go into a step. */
  scheduled(this: void): void
  readonly scheduledMs: number | undefined // for the first time here
  readonly firstTokenMs: number | undefined
  readonly lastTokenMs: number | undefined
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

  const hereMs = (): number => Math.max(0, clock.monotonicMs() - beganMs)
  const sinceArrival = (ms: number): number => round(ms + earlierMs)

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
      const atMs = hereMs()
      firstTokenMs ??= atMs
      lastTokenMs = atMs
      ;(chunks[choice] ??= []).push([atMs, numTokens])
    },
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
