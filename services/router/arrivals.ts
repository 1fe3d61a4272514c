// Requests whose prompts are being read: nobody has a record of them yet, but they end as those do that have one.
//
// Invariants
//   AR1  The reading ends when the client leaves, when the request is cancelled by its id, at its deadline, and with this
//        router: at once, in one typed error.

import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import { requestKey } from './journal.js'
import type { RequestName } from './requests.js'

type Name = Pick<RequestName, 'id' | 'tenant'>

export interface Arrivals {
  /** Reads with a signal that aborts with the error of its end. */
  during<T>(
    name: Name & Pick<RequestName, 'deadlineMs'>,
    client: AbortSignal,
    read: (signal: AbortSignal) => Promise<T>,
  ): Promise<T>
  has(name: Name): boolean
  /** Ends all readings of that name. */
  end(name: Name, error: ClusterError): void
  endAll(error: ClusterError): void
}

export function createArrivals(clock: Pick<Clock, 'now' | 'after'>): Arrivals {
  const readings = new Map<AbortController, string>()
  const keyOf = ({ id, tenant }: Name): string => requestKey(tenant, id)

  return {
    during: async (name, client, read) => {
      const controller = new AbortController()
      const leave = (): void => controller.abort(client.reason)
      if (client.aborted) leave()
      client.addEventListener('abort', leave, { once: true })
      const { id, deadlineMs } = name
      const late = (): void =>
        controller.abort(new ClusterError('deadline_exceeded', `request ${id}: not begun within its deadline`))
      const cancelTimer =
        deadlineMs === undefined ? undefined : clock.after(Math.max(0, deadlineMs - clock.now()), late)
      readings.set(controller, keyOf(name))
      try {
        return await read(controller.signal)
      } finally {
        readings.delete(controller)
        cancelTimer?.()
        client.removeEventListener('abort', leave)
      }
    },
    has: (name) => [...readings.values()].includes(keyOf(name)),
    end: (name, error) => {
      const wanted = keyOf(name)
      for (const [controller, key] of readings) if (key === wanted) controller.abort(error)
    },
    endAll: (error) => {
      for (const controller of readings.keys()) controller.abort(error)
    },
  }
}
