// The journal's store, looked at from outside: how often it is used, how long that takes, what fails.

import type { Clock } from '../../../lib/actor/actor.js'
import { LONG_SECONDS, MS_PER_SECOND, type MetricsRegistry } from '../../../lib/metrics/registry.js'
import type { RecordStore } from '../../../lib/transport/record-store.js'
import { isOvertaken } from '../journal.js'

const OPERATIONS = ['write', 'read', 'remove'] as const
type Operation = (typeof OPERATIONS)[number]

/** Wraps a store so that what is done with it is counted. */
export function addJournalMetrics(registry: MetricsRegistry, clock: Clock): (store: RecordStore) => RecordStore {
  const operations = registry.counter(
    'banyan:journal_operations_total',
    'Operations of the journal; overtaken: somebody else changed the record meanwhile, which is no failure.',
    { operation: OPERATIONS, outcome: ['ok', 'overtaken', 'failed'] },
  )
  const seconds = registry.histogram(
    'banyan:journal_seconds',
    'Duration of an operation of the journal.',
    LONG_SECONDS,
    {
      operation: OPERATIONS,
    },
  )
  const metered = async <T>(operation: Operation, work: () => Promise<T>): Promise<T> => {
    const startedMs = clock.monotonicMs()
    const ended = (outcome: string): void => {
      operations.inc({ operation, outcome })
      seconds.observe({ operation }, (clock.monotonicMs() - startedMs) / MS_PER_SECOND)
    }
    try {
      const result = await work()
      ended('ok')
      return result
    } catch (error) {
      ended(isOvertaken(error) ? 'overtaken' : 'failed')
      throw error
    }
  }
  return (store) => ({
    ...store,
    put: (...args) => metered('write', () => store.put(...args)),
    get: (...args) => metered('read', () => store.get(...args)),
    remove: (...args) => metered('remove', () => store.remove(...args)),
  })
}
