// The journal file: appended to, and rewritten when it is mostly garbage.
//
// Invariants
//   A1  What `append` resolved for is read again after a crash at any moment; what it failed for is taken off again.
//   A2  After a failed sync the system may have forgotten what it owed the disk: nothing more is appended to that file,
//       a fresh one takes its place first.

import { ClusterError } from '../errors.js'
import { errorCode, type Disk } from './disk.js'
import { LOG_START, readLog, type LogRecord } from './record-log.js'
import { unconfirmed } from './record-store.js'

const NAME = 'journal.log'
const FRESH_NAME = 'journal.log.new'
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

export interface RecordFile {
  readonly sizeBytes: number
  /** Resolves when the records are durable. Throws `resource_exhausted` on a full disk, else `unavailable`; with reason UNCONFIRMED where they may yet be found. */
  append(records: Uint8Array): Promise<void>
  /** Puts a fresh file with `contents()` in place. Throws as `append` does; then the old one stays. */
  rewrite(): Promise<void>
  close(): Promise<void>
}

export interface OpenedFile {
  readonly file: RecordFile
  readonly records: readonly LogRecord[]
  readonly numTornBytes: number // that were cut off
}

/** `contents` are the records of everything that is kept, for a fresh file. Throws `failed_precondition`. */
export async function openRecordFile(disk: Disk, contents: () => Iterable<Uint8Array>): Promise<OpenedFile> {
  await disk.remove(FRESH_NAME)
  const bytes = (await disk.read(NAME)) ?? new Uint8Array(0)
  const { records, validBytes } = readLog(bytes)
  let file = await disk.open(NAME)
  let sizeBytes = validBytes
  let isDoubtful = false

  const cutTail = async (): Promise<void> => {
    await file.truncate(sizeBytes)
    await file.sync()
  }

  const rewrite = async (): Promise<void> => {
    const fresh = await disk.open(FRESH_NAME).catch(fail)
    let freshBytes = 0
    try {
      await fresh.truncate(0) // what could not be removed earlier
      for (const piece of [LOG_START, ...contents()]) {
        await fresh.write(piece, freshBytes)
        freshBytes += piece.byteLength
      }
      await fresh.sync()
      await disk.rename(FRESH_NAME, NAME)
    } catch (error) {
      await fresh.close().catch(ignore)
      await disk.remove(FRESH_NAME).catch(ignore)
      return fail(error)
    }
    const old = file
    file = fresh
    sizeBytes = freshBytes
    isDoubtful = true // until the new name is durable
    await old.close().catch(ignore)
    await disk.sync().catch(fail)
    isDoubtful = false
  }

  const append = async (added: Uint8Array): Promise<void> => {
    if (isDoubtful) await rewrite()
    try {
      await file.write(added, sizeBytes)
    } catch (error) {
      try {
        await cutTail()
      } catch (cutError) {
        isDoubtful = true
        throw unconfirmed('journal file: a torn record could not be cut off', cutError)
      }
      return fail(error)
    }
    try {
      await file.sync()
    } catch (error) {
      isDoubtful = true
      throw unconfirmed(`journal file: ${ClusterError.from(error).message}`, error)
    }
    sizeBytes += added.byteLength
  }

  try {
    if (validBytes === 0) {
      await file.write(LOG_START, 0)
      sizeBytes = LOG_START.byteLength
    }
    if (bytes.byteLength !== sizeBytes) await cutTail()
    await disk.sync()
  } catch (error) {
    await file.close().catch(ignore)
    return fail(error)
  }
  return {
    records,
    numTornBytes: bytes.byteLength - validBytes,
    file: {
      get sizeBytes() {
        return sizeBytes
      },
      append,
      rewrite,
      close: () => file.close(),
    },
  }
}

/** What failed before is what counts. */
const ignore = (): void => undefined

function fail(error: unknown): never {
  const { message } = ClusterError.from(error)
  if (FULL.has(errorCode(error))) {
    throw new ClusterError('resource_exhausted', `journal file: no room on its disk (${message})`, {
      cause: error,
      details: { reason: 'DISK_FULL' },
    })
  }
  throw new ClusterError('unavailable', `journal file: ${message}`, { cause: error, details: { reason: 'DISK_ERROR' } })
}
