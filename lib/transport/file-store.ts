// Records in an append-only file. All of them are in memory, too; the file is read at the start only.
//
// Invariants
//   S1  The table holds what is durable: a put shows when its record is on the disk, a failed one never does.
//   S2  Puts that wait while the disk is busy share the next write and sync; of one key, one at a time.
//   S3  What waits is bounded.

import { ClusterError } from '../errors.js'
import { openDisk, type Disk } from './disk.js'
import { lockFolder } from './folder-lock.js'
import { openRecordFile, type RecordFile } from './record-file.js'
import { encodeRecord, type LogRecord } from './record-log.js'
import {
  DEFAULT_MAX_AGE_MS,
  DEFAULT_MAX_BYTES,
  MAX_VALUE_BYTES,
  requireKey,
  requireValue,
  unconfirmed,
  type RecordStore,
} from './record-store.js'
import { createRecordTable, type RecordTable } from './record-table.js'

const MIN_GARBAGE_BYTES = 4 * 1024 * 1024
const MAX_WAITING_BYTES = 64 * 1024 * 1024
const NOTHING = new Uint8Array(0)

export interface FileStoreOptions {
  readonly maxBytes?: number | undefined // of what is kept; the file may have twice as many and some
  readonly maxAgeMs?: number
  readonly minGarbageBytes?: number // less is never worth a rewrite
  readonly now?: () => number // monotonic
  readonly wallNow?: () => number // ms since 1970
  /** Calls back after a while; returns what takes it back. */
  readonly after?: (delayMs: number, run: () => void) => () => void
  /** Told what was cut off a damaged file. */
  readonly onDamage?: (line: string) => void
}

interface Change {
  readonly key: string
  readonly value: Uint8Array | undefined // absent: remove
  readonly expected: number
  isGivenUp: boolean
  readonly settle: (result: number | ClusterError) => void
}

interface Staged {
  readonly change: Change
  readonly record: LogRecord
}

const realAfter = (delayMs: number, run: () => void): (() => void) => {
  const timer = setTimeout(run, delayMs)
  return () => clearTimeout(timer)
}

/** Opens the journal in a folder of its own. Throws `failed_precondition` where another process has it. */
export async function openFileStore(folder: string, options: FileStoreOptions = {}): Promise<RecordStore> {
  try {
    const disk = await openDisk(folder)
    const unlock = lockFolder(folder)
    try {
      const store = await openStoreOn(disk, options)
      return { ...store, close: () => store.close().finally(unlock) }
    } catch (error) {
      unlock()
      throw error
    }
  } catch (error) {
    if (error instanceof ClusterError) throw error
    const { message } = ClusterError.from(error)
    throw new ClusterError('failed_precondition', `journal ${folder}: want a folder to write in (${message})`, {
      cause: error,
    })
  }
}

/** The store on any disk; nobody else may use it. */
export async function openStoreOn(disk: Disk, options: FileStoreOptions = {}): Promise<RecordStore> {
  const { maxBytes = DEFAULT_MAX_BYTES, maxAgeMs = DEFAULT_MAX_AGE_MS, after = realAfter } = options
  const { now = () => performance.now(), wallNow = () => Date.now() } = options
  const table = createRecordTable({ maxBytes, maxAgeMs, now })
  const keep = (key: string, value: Uint8Array, revision: number, putAtMs: number): Uint8Array =>
    encodeRecord({ op: 'put', key, value, revision, writtenAtMs: wallNow() - (now() - putAtMs) })
  const contents = function* (): Iterable<Uint8Array> {
    yield encodeRecord({ op: 'revision', key: '', value: NOTHING, revision: table.lastRevision, writtenAtMs: 0 })
    for (const [key, { value, revision, putAtMs }] of table.rows()) yield keep(key, value, revision, putAtMs)
  }
  const { file, records, numTornBytes } = await openRecordFile(disk, contents)
  for (const record of records) apply(table, record, now() - Math.max(0, wallNow() - record.writtenAtMs))
  if (numTornBytes > 0) options.onDamage?.(`journal file: cut off ${numTornBytes} bytes of a torn or damaged record`)

  const committer = createCommitter({
    table,
    file,
    now,
    wallNow,
    minGarbageBytes: options.minGarbageBytes ?? MIN_GARBAGE_BYTES,
  })

  const change = (key: string, value: Uint8Array | undefined, expected: number, timeoutMs: number): Promise<number> =>
    new Promise((resolve, reject) => {
      const entry: Change = {
        key,
        value,
        expected,
        isGivenUp: false,
        settle: (result) => {
          cancel()
          if (result instanceof ClusterError) reject(result)
          else resolve(result)
        },
      }
      const cancel = after(timeoutMs, () => {
        entry.isGivenUp = true
        reject(unconfirmed(`journal file: not written within ${timeoutMs} ms`))
      })
      committer.enter(entry)
    })

  return {
    isDurable: true,
    maxValueBytes: MAX_VALUE_BYTES,
    put: async (key, value, expected, { timeoutMs }) => {
      requireKey(key)
      requireValue(value, MAX_VALUE_BYTES)
      return change(key, Uint8Array.from(value), expected, timeoutMs)
    },
    get: async (key) => {
      requireKey(key)
      if (committer.isClosed) throw closedError()
      return table.get(key)
    },
    remove: async (key, { timeoutMs, revision = 0 }) => {
      requireKey(key)
      await change(key, undefined, revision, timeoutMs)
    },
    close: () => committer.close(),
  }
}

function apply(table: RecordTable, { op, key, value, revision }: LogRecord, putAtMs: number): void {
  if (op === 'put') table.set(key, { value: Uint8Array.from(value), revision, putAtMs })
  else if (op === 'remove') table.delete(key)
  else table.skipTo(revision)
}

/** `expected` 0: whatever its revision. */
const isToRemove = (revision: number | undefined, expected: number): boolean =>
  revision !== undefined && (expected === 0 || expected === revision)

const closedError = (): ClusterError => new ClusterError('unavailable', 'records: the store is closed')
const sizeOf = ({ key, value }: Change): number => 2 * key.length + (value?.byteLength ?? 0)

interface CommitterOptions {
  readonly table: RecordTable
  readonly file: RecordFile
  readonly now: () => number
  readonly wallNow: () => number
  readonly minGarbageBytes: number
}

/** Writes what waits, batch after batch. */
function createCommitter({ table, file, now, wallNow, minGarbageBytes }: CommitterOptions) {
  let waiting: Change[] = []
  let waitingBytes = 0
  let running: Promise<void> | undefined
  let isClosed = false
  let rewriteAtBytes = 0

  /** What may be written together; refuses what cannot be. Later changes of a key wait for the first. */
  const takeBatch = (): Staged[] => {
    const staged = new Map<string, Staged>()
    const later: Change[] = []
    let stagedBytes = 0
    for (const change of waiting) {
      if (staged.has(change.key)) later.push(change)
      else if (!change.isGivenUp) {
        try {
          const { key, value, expected } = change
          if (value !== undefined) stagedBytes += table.check(key, value, expected, stagedBytes)
          else if (!isToRemove(table.get(key)?.revision, expected)) {
            change.settle(0)
            continue
          }
          const revision = value === undefined ? 0 : table.nextRevision()
          const op = value === undefined ? 'remove' : 'put'
          staged.set(key, { change, record: { op, key, value: value ?? NOTHING, revision, writtenAtMs: wallNow() } })
        } catch (error) {
          change.settle(ClusterError.from(error))
        }
      }
    }
    waiting = later
    waitingBytes = later.reduce((sum, change) => sum + sizeOf(change), 0)
    return [...staged.values()]
  }

  const commit = async (batch: readonly Staged[]): Promise<void> => {
    try {
      await file.append(Buffer.concat(batch.map(({ record }) => encodeRecord(record))))
    } catch (error) {
      for (const { change } of batch) change.settle(ClusterError.from(error))
      return
    }
    for (const { change, record } of batch) {
      apply(table, record, now())
      change.settle(record.revision)
    }
  }

  const rewriteWhenDue = async (): Promise<void> => {
    const garbage = file.sizeBytes - table.sizeBytes // what is kept is counted somewhat larger than it is
    if (garbage < minGarbageBytes || garbage < file.sizeBytes / 2 || file.sizeBytes < rewriteAtBytes) return
    try {
      await file.rewrite()
      rewriteAtBytes = 0
    } catch {
      rewriteAtBytes = file.sizeBytes + minGarbageBytes // the old file serves on
    }
  }

  const run = async (): Promise<void> => {
    await Promise.resolve() // what comes in this turn goes together
    while (waiting.length > 0) {
      const batch = takeBatch()
      if (batch.length > 0) await commit(batch)
      await rewriteWhenDue()
    }
    running = undefined
  }

  return {
    get isClosed() {
      return isClosed
    },
    enter: (change: Change): void => {
      if (isClosed) return change.settle(closedError())
      if (waitingBytes + sizeOf(change) > MAX_WAITING_BYTES) {
        const why = `journal file: want at most ${MAX_WAITING_BYTES} bytes to wait for the disk`
        return change.settle(new ClusterError('resource_exhausted', why, { details: { reason: 'DISK_SLOW' } }))
      }
      waiting.push(change)
      waitingBytes += sizeOf(change)
      running ??= run()
    },
    /** What was entered is written first. */
    close: async (): Promise<void> => {
      isClosed = true
      await running
      await file.close()
    },
  }
}
