// Notices that this process stood still: a timer that fires late was kept from it by a long computation, by a machine
// with too much to do, or by somebody who stopped the process. Reported, so that it is not taken for others' slowness.

import type { Clock } from './actor.js'

const CHECK_MS = 100
const STALL_MS = 250 // a heartbeat is missed

export interface StallDetector {
  /** What the heartbeat says of it. */
  readonly load: { readonly stalls: number; readonly maxStallMs: number }
  stop(): void
}

/** Calls back after every stall, with its length. */
export function createStallDetector(clock: Clock, onStall: (stalledMs: number) => void): StallDetector {
  let stalls = 0
  let maxStallMs = 0
  let cancel = (): void => undefined
  const watch = (): void => {
    const dueMs = clock.monotonicMs() + CHECK_MS
    cancel = clock.after(CHECK_MS, () => {
      const lateMs = Math.round(clock.monotonicMs() - dueMs)
      watch()
      if (lateMs < STALL_MS) return
      stalls += 1
      maxStallMs = Math.max(maxStallMs, lateMs)
      onStall(lateMs)
    })
  }
  watch()
  return {
    get load() {
      return { stalls, maxStallMs }
    },
    stop: () => cancel(),
  }
}
