// What this worker has computed: for routers, which place shards by it, and for whoever scales by how busy workers are.

import type { Clock } from '../../lib/actor/actor.js'
import type { TouchedExpert } from '../../lib/compute/expert-call.js'

/**
 * A row over reading an expert's weights: fc / fw of the objective fw · touched + fc · rows. Measured on the CPU with int8
 * and int4 for one to four rows; only what shards have to do relative to each other depends on it.
 */
const ROW_PRICE = 0.25
const WINDOW_MS = 15_000

export interface ExpertWork {
  touched(experts: readonly TouchedExpert[]): void
  computed(tookMs: number): void
  /** By shard, since the start: one for an expert touched and a part of that for every row. */
  readonly byShard: readonly number[]
  /** Share of the time that went into calls, over the last 15 to 30 s; layers that run in place are not in it. */
  readonly busy: number
}

export function createExpertWork(numShards: number, clock: Pick<Clock, 'monotonicMs'>): ExpertWork {
  const byShard = new Float64Array(numShards)
  let window = { sinceMs: clock.monotonicMs(), busyMs: 0 }
  let before = window

  /** The last whole window and what there is of the next; older ones say nothing. */
  const turn = (): number => {
    const nowMs = clock.monotonicMs()
    const age = nowMs - window.sinceMs
    if (age >= WINDOW_MS) {
      before = age >= 2 * WINDOW_MS ? { sinceMs: nowMs - WINDOW_MS, busyMs: 0 } : window
      window = { sinceMs: nowMs, busyMs: 0 }
    }
    return nowMs
  }

  return {
    touched: (experts) => {
      for (const { shard, count } of experts) byShard[shard]! += 1 + ROW_PRICE * count
    },
    computed: (tookMs) => {
      turn()
      window.busyMs += tookMs
    },
    get byShard() {
      return [...byShard]
    },
    get busy() {
      const nowMs = turn()
      const busyMs = before === window ? window.busyMs : before.busyMs + window.busyMs
      const spanMs = nowMs - before.sinceMs
      return spanMs <= 0 ? 0 : Math.min(1, busyMs / spanMs)
    },
  }
}
