// A service's load as others see it: log lines, its heartbeats, whoever started it; and given up when it is to leave.

import { ClusterError } from '../errors.js'
import type { LoadProgress, OnProgress } from '../decode/load-progress.js'
import type { ServiceDeps } from './service.js'

const LOG_EVERY_MS = 2_000
const TELL_EVERY_MS = 100

export interface LoadWatch {
  /** Of the event loop. Rejects with `cancelled` once the service is to leave. */
  readonly turn: () => Promise<void>
  readonly onProgress: OnProgress
  /** For heartbeats: how far the load has come; nothing where none is under way. */
  readonly load: Readonly<Record<string, number>>
}

export const isLoaded = ({ bytes, totalBytes, experts, totalExperts }: LoadProgress): boolean =>
  experts >= totalExperts && totalBytes - bytes < 1 // sizes are sums of halves and sixteenths

/** `312/512 experts, 1.20/2.00 GB` */
export function describeLoad({ bytes, totalBytes, experts, totalExperts }: LoadProgress): string {
  const [unit, name] = totalBytes < 1e9 ? ([1e6, 'MB'] as const) : ([1e9, 'GB'] as const)
  const size = (amount: number): string => (amount / unit).toFixed(unit === 1e9 ? 2 : 1)
  const count = totalExperts === 0 ? '' : `${experts}/${totalExperts} experts, `
  return `${count}${size(bytes)}/${size(totalBytes)} ${name}`
}

export function watchLoad({ system, logger, leaving, onLoading }: ServiceDeps): LoadWatch {
  const { clock } = system
  let now: LoadProgress | undefined
  let [startedMs, loggedMs, toldMs] = [0, 0, -Infinity]
  return {
    turn: async () => {
      await clock.turn()
      if (leaving?.aborted === true) throw new ClusterError('cancelled', 'loading: told to leave')
    },
    onProgress: (progress) => {
      const nowMs = clock.monotonicMs()
      if (progress.bytes === 0 && progress.experts === 0) {
        startedMs = loggedMs = nowMs
        toldMs = -Infinity
      }
      const isEnd = isLoaded(progress)
      now = isEnd ? undefined : progress
      if (isEnd) logger.info({ tookMs: Math.round(nowMs - startedMs) }, `loaded ${describeLoad(progress)}`)
      else if (nowMs - loggedMs >= LOG_EVERY_MS) {
        loggedMs = nowMs
        logger.info({}, `loading ${describeLoad(progress)}`)
      }
      if (!isEnd && nowMs - toldMs < TELL_EVERY_MS) return
      toldMs = nowMs
      onLoading?.(progress)
    },
    get load() {
      if (now === undefined) return {}
      const { bytes, totalBytes, experts, totalExperts } = now
      return {
        loadedBytes: Math.round(bytes),
        bytesToLoad: Math.round(totalBytes),
        loadedExperts: experts,
        expertsToLoad: totalExperts,
      }
    },
  }
}
