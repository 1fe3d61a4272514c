// How late this process's event loop is: what a timer waits beyond its time, over the last 15 to 30 seconds.

import { monitorEventLoopDelay } from 'node:perf_hooks'

const RESOLUTION_MS = 20
const WINDOW_MS = 15_000
const NS_PER_SECOND = 1e9

export interface LoopDelay {
  /** Seconds; `share` from 0 to 1, where 1 is the longest. */
  quantile(share: number): number
  stop(): void
}

/** `now` in milliseconds, monotonic. Nothing runs but a timer inside Node. */
export function watchLoopDelay(now: () => number): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  histogram.enable()
  const shares = [0.5, 0.99, 1]
  let before = new Map<number, number>() // of the window that ended last
  let windowEndsMs = now() + WINDOW_MS

  const current = (share: number): number => {
    if (histogram.count === 0) return 0
    const ns = share === 1 ? histogram.max : histogram.percentile(share * 100)
    return Math.max(0, ns / NS_PER_SECOND - RESOLUTION_MS / 1000) // Node records the whole interval
  }
  /** Looked at only when somebody asks: a window lasts at least its time, longer where nobody does. */
  const turn = (): void => {
    if (now() < windowEndsMs) return
    before = new Map(shares.map((share) => [share, current(share)]))
    histogram.reset()
    windowEndsMs = now() + WINDOW_MS
  }

  return {
    quantile: (share) => {
      turn()
      return Math.max(current(share), before.get(share) ?? 0)
    },
    stop: () => void histogram.disable(),
  }
}
