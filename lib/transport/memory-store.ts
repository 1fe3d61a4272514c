// Records in memory: a store for a cluster in one process that nothing needs to outlive.

import { ClusterError } from '../errors.js'
import {
  DEFAULT_MAX_AGE_MS,
  DEFAULT_MAX_BYTES,
  MAX_VALUE_BYTES,
  requireKey,
  requireValue,
  type RecordStore,
} from './record-store.js'
import { createRecordTable } from './record-table.js'

export interface MemoryStoreOptions {
  readonly maxBytes?: number
  readonly maxAgeMs?: number
  readonly now?: () => number // monotonic
}

export function createMemoryStore({
  maxBytes = DEFAULT_MAX_BYTES,
  maxAgeMs = DEFAULT_MAX_AGE_MS,
  now = () => performance.now(),
}: MemoryStoreOptions = {}): RecordStore {
  const table = createRecordTable({ maxBytes, maxAgeMs, now })
  let isClosed = false
  const requireOpen = (key: string): void => {
    requireKey(key)
    if (isClosed) throw new ClusterError('unavailable', 'records: the store is closed')
  }
  return {
    isDurable: false,
    maxValueBytes: MAX_VALUE_BYTES,
    put: async (key, value, expected) => {
      requireOpen(key)
      requireValue(value, MAX_VALUE_BYTES)
      table.check(key, value, expected, 0)
      const revision = table.nextRevision()
      table.set(key, { value: Uint8Array.from(value), revision, putAtMs: now() })
      return revision
    },
    get: async (key) => {
      requireOpen(key)
      return table.get(key)
    },
    remove: async (key, { revision }) => {
      requireOpen(key)
      if (revision === undefined || table.get(key)?.revision === revision) table.delete(key)
    },
    close: async () => {
      isClosed = true
    },
  }
}
