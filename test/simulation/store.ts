// The durable records of a simulated cluster, as JetStream keeps them: they outlive every process and the broker's
// restarts; a question goes over its process's connection, and its answer may be lost though it was done.

import { ClusterError } from '../../lib/errors.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import type { Link } from './network.js'

const QUESTION_BYTES = 64

/** A process's access to records that all share. */
export function storeOver(link: Link, shared: RecordStore): RecordStore {
  const { machine } = link

  const ask = <T>(bytes: number, timeoutMs: number, atStore: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const unreachable = (): void =>
        reject(new ClusterError('unavailable', `records: no answer within ${timeoutMs} ms`))
      if (!link.isUp) return reject(new ClusterError('unavailable', 'records: disconnected'))
      if (!machine.sends()) return
      const cancelTimer = machine.clock.after(timeoutMs, unreachable)
      const answer = (settle: () => void): void =>
        link.fromBroker(QUESTION_BYTES, () => {
          cancelTimer()
          settle()
        })
      link.toBroker(bytes, () => {
        atStore().then(
          (value) => answer(() => resolve(value)),
          (error: unknown) => answer(() => reject(ClusterError.from(error))),
        )
      })
    })

  return {
    isDurable: true,
    maxValueBytes: shared.maxValueBytes,
    put: (key, value, expected, { timeoutMs }) => {
      const copy = Uint8Array.from(value)
      return ask(copy.byteLength, timeoutMs, () => shared.put(key, copy, expected, { timeoutMs }))
    },
    get: (key, { timeoutMs }) => ask(QUESTION_BYTES, timeoutMs, () => shared.get(key, { timeoutMs })),
    remove: (key, options) => ask(QUESTION_BYTES, options.timeoutMs, () => shared.remove(key, options)),
    close: () => Promise.resolve(),
  }
}
