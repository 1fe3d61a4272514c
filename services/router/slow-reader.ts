// A stream whose reader falls behind is paused (`request-log.ts`); one that reads nothing at all meanwhile is given up.

import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { RequestLog } from './request-log.js'

export const GIVE_UP_MS = 60_000

export interface SlowReaderOptions {
  readonly clock: Clock
  /** It has caught up. */
  readonly onResume: () => void
  readonly onStuck: (error: ClusterError) => void
}

export function watchReader(log: RequestLog, { clock, onResume, onStuck }: SlowReaderOptions): void {
  let cancelTimer = (): void => undefined

  const wait = (): void => {
    const { numRead } = log
    cancelTimer = clock.after(GIVE_UP_MS, () => {
      if (log.numRead > numRead) wait()
      else onStuck(notRead())
    })
  }

  log.onPause((isPaused) => {
    cancelTimer()
    if (isPaused) wait()
    else onResume()
  })
}

const notRead = (): ClusterError =>
  new ClusterError('resource_exhausted', `the stream is full and nothing was read for ${GIVE_UP_MS / 1000} s`, {
    details: { reason: 'SLOW_READER' },
  })
