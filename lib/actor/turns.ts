// Work that is done one at a time, for whoever waits for it.
//
// Invariants
//   TN1  One at a time, in the order in which they came.
//   TN2  What waits is bounded, in size and in time; whom that keeps out is told when to come again.
//   TN3  Whoever leaves hears of it at once, and waits no more; what was begun for him ends by itself.

import { ClusterError } from '../errors.js'
import type { Clock } from './actor.js'

const LEAST_RETRY_MS = 250
const MOST_RETRY_MS = 30_000
const NEWS = 0.2 // weight of the last one in what one takes

export interface TurnsOptions {
  readonly what: string // what waits, for errors
  readonly reason: string // of errors
  readonly maxWaiting: number // sizes of all that wait; who is alone may be larger
  readonly maxWaitMs: number
}

export interface Visit {
  readonly size: number // above 0
  readonly clock: Pick<Clock, 'after' | 'monotonicMs'>
  readonly signal: AbortSignal | undefined
}

export interface Turns {
  /** Does the work in its turn. Throws `resource_exhausted` (TN2), and what the signal's abort gives as its reason. */
  take<T>(visit: Visit, work: () => Promise<T>): Promise<T>
}

export function createTurns({ what, reason, maxWaiting, maxWaitMs }: TurnsOptions): Turns {
  const queue = new Set<() => void>()
  let isTaken = false
  let waiting = 0 // size
  let msPerSize = 0

  const refusal = (why: string): ClusterError => {
    const waitMs = Math.round(Math.min(MOST_RETRY_MS, Math.max(LEAST_RETRY_MS, waiting * msPerSize)))
    return new ClusterError('resource_exhausted', `${what}: ${why}; try again in ${waitMs} ms`, {
      details: { reason, retryAfterMs: String(waitMs) },
    })
  }

  const turn = ({ size, clock, signal }: Visit): Promise<void> =>
    new Promise((resolve, reject) => {
      if (!isTaken) {
        isTaken = true
        resolve()
        return
      }
      if (queue.size > 0 && waiting + size > maxWaiting) {
        reject(refusal('too many wait'))
        return
      }
      const leave = (): void => {
        queue.delete(begin)
        waiting -= size
        cancelTimer()
        signal?.removeEventListener('abort', abandon)
      }
      const begin = (): void => {
        leave()
        resolve()
      }
      const abandon = (): void => {
        leave()
        reject(ClusterError.from(signal?.reason))
      }
      const cancelTimer = clock.after(maxWaitMs, () => {
        reject(refusal(`those before it took ${maxWaitMs / 1000} s`))
        leave()
      })
      signal?.addEventListener('abort', abandon, { once: true })
      queue.add(begin)
      waiting += size
    })

  const next = (): void => {
    const [begin] = queue
    if (begin === undefined) isTaken = false
    else begin()
  }

  const run = async <T>({ size, clock }: Visit, work: () => Promise<T>): Promise<T> => {
    const beganMs = clock.monotonicMs()
    try {
      return await work()
    } finally {
      const tookMs = (clock.monotonicMs() - beganMs) / size
      msPerSize = msPerSize === 0 ? tookMs : msPerSize + NEWS * (tookMs - msPerSize)
      next()
    }
  }

  return {
    take: async (visit, work) => {
      checkAborted(visit)
      await turn(visit)
      return orAborted(
        run(visit, () => {
          checkAborted(visit) // also between his turn and now
          return work()
        }),
        visit.signal,
      )
    },
  }
}

function checkAborted({ signal }: Visit): void {
  if (signal?.aborted === true) throw ClusterError.from(signal.reason)
}

function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abandon = (): void => reject(ClusterError.from(signal.reason))
    signal.addEventListener('abort', abandon, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon))
  })
}
