// What a store on this machine holds, in memory: records by key, oldest put first.
//
// Invariants
//   R1  No more than `maxBytes`, keys and a fixed overhead included.
//   R2  A revision is given out once, whatever became of the put it was drawn for.

import { ClusterError } from '../errors.js'
import { revisionError, type Stored } from './record-store.js'

const OVERHEAD_BYTES = 64 // of a record, about

export interface Row extends Stored {
  readonly putAtMs: number // on the table's clock
}

export interface TableOptions {
  readonly maxBytes: number
  readonly maxAgeMs: number
  /** Monotonic: a set clock must not make records old. */
  readonly now: () => number
}

export interface RecordTable {
  readonly sizeBytes: number
  readonly lastRevision: number
  get(key: string): Stored | undefined
  /** Throws `aborted` or `resource_exhausted` where the put may not be; `stagedBytes` are promised to others. Returns its growth. */
  check(key: string, value: Uint8Array, expected: number, stagedBytes: number): number
  nextRevision(): number
  set(key: string, row: Row): void
  delete(key: string): void
  /** After a restart: no revision up to this one is given out again. */
  skipTo(revision: number): void
  rows(): Iterable<readonly [string, Row]>
}

const sizeOf = (key: string, value: Uint8Array): number => OVERHEAD_BYTES + 2 * key.length + value.byteLength

export function createRecordTable({ maxBytes, maxAgeMs, now }: TableOptions): RecordTable {
  const rows = new Map<string, Row>()
  let sizeBytes = 0
  let lastRevision = 0

  const remove = (key: string): void => {
    const row = rows.get(key)
    if (row === undefined) return
    sizeBytes -= sizeOf(key, row.value)
    rows.delete(key)
  }

  const forgetOld = (): void => {
    const oldest = now() - maxAgeMs
    for (const [key, { putAtMs }] of rows) {
      if (putAtMs > oldest) return
      remove(key)
    }
  }

  const find = (key: string): Row | undefined => {
    forgetOld()
    return rows.get(key)
  }

  return {
    get sizeBytes() {
      return sizeBytes
    },
    get lastRevision() {
      return lastRevision
    },
    get: (key) => {
      const row = find(key)
      return row && { value: Uint8Array.from(row.value), revision: row.revision }
    },
    check: (key, value, expected, stagedBytes) => {
      const row = find(key)
      const revision = row?.revision ?? 0
      if (revision !== expected) throw revisionError(key, `want revision ${expected}, found ${revision}`)
      const growth = sizeOf(key, value) - (row === undefined ? 0 : sizeOf(key, row.value))
      if (growth > 0 && sizeBytes + stagedBytes + growth > maxBytes) {
        throw new ClusterError(
          'resource_exhausted',
          `records: want at most ${maxBytes} bytes, have ${sizeBytes + stagedBytes}, got ${growth} more`,
          { details: { reason: 'STORE_FULL' } },
        )
      }
      return growth
    },
    nextRevision: () => (lastRevision += 1),
    set: (key, row) => {
      remove(key)
      rows.set(key, row)
      sizeBytes += sizeOf(key, row.value)
      lastRevision = Math.max(lastRevision, row.revision)
    },
    delete: remove,
    skipTo: (revision) => {
      lastRevision = Math.max(lastRevision, revision)
    },
    rows: () => {
      forgetOld()
      return rows
    },
  }
}
