// One bar for the start of a cluster: services that came up, then experts and bytes of the loads that are under way.
//
// Invariants
//   SB1  A load that takes under half a second is never shown.

import { BRIEF_MS, type Bar } from '../lib/config/load-bar.js'
import { describeLoad, isLoaded } from '../lib/config/watch-load.js'
import type { LoadProgress } from '../lib/decode/load-progress.js'
import type { OnLoading } from './cluster/services.js'

export interface StartBar {
  onStarted(): void
  readonly onLoading: OnLoading
  stop(): void
}

export function createStartBar(bar: Bar, numServices: number, now: () => number): StartBar {
  const loads = new Map<string, LoadProgress>() // by service
  let numStarted = 0
  let sinceMs: number | undefined // that something is being loaded

  const show = (): void => {
    const all = sumOf([...loads.values()])
    if (isLoaded(all)) sinceMs = undefined
    else sinceMs ??= now()
    if (sinceMs !== undefined && now() - sinceMs >= BRIEF_MS)
      bar.update(all.bytes / all.totalBytes, `loading ${describeLoad(all)}`)
    else bar.update(numStarted / numServices, `starting ${numStarted}/${numServices} services`)
  }
  show()
  return {
    onStarted: () => {
      numStarted += 1
      show()
    },
    onLoading: (service, progress) => {
      loads.set(service, progress)
      show()
    },
    stop: () => bar.stop(),
  }
}

const sumOf = (loads: readonly LoadProgress[]): LoadProgress =>
  loads.reduce(
    (sum, each) => ({
      bytes: sum.bytes + each.bytes,
      totalBytes: sum.totalBytes + each.totalBytes,
      experts: sum.experts + each.experts,
      totalExperts: sum.totalExperts + each.totalExperts,
    }),
    { bytes: 0, totalBytes: 0, experts: 0, totalExperts: 0 },
  )
