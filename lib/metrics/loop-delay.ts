// How late this process's event loop is: what a timer waits beyond its time, over the last 15 to 30 seconds.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock } from '../actor/actor.js'

const RESOLUTION_MS = 20
const WINDOW_MS = 15_000
const NS_PER_SECOND = 1e9

export interface LoopDelay {
  /** Seconds; `share` from 0 to 1, where 1 is the longest. */
  quantile(share: number): number
  stop(): void
}

/** Nothing runs but a timer inside Node, and one at the end of a window. */
export function watchLoopDelay(clock: Pick<Clock, 'after'>): LoopDelay {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  histogram.enable()
  const shares = [0.5, 0.99, 1]
  let before = new Map<number, number>() // of the window that ended last

  const current = (share: number): number => {
    if (histogram.count === 0) return 0
    const ns = share === 1 ? histogram.max : histogram.percentile(share * 100)
    return Math.max(0, ns / NS_PER_SECOND - RESOLUTION_MS / 1000) // Node records the whole interval
  }
  const turn = (): void => {
    before = new Map(shares.map((share) => [share, current(share)]))
    histogram.reset()
    cancel = clock.after(WINDOW_MS, turn)
  }
  let cancel = clock.after(WINDOW_MS, turn)

  return {
    quantile: (share) => Math.max(current(share), before.get(share) ?? 0),
    stop: () => {
      cancel()
      histogram.disable()
    },
  }
}
