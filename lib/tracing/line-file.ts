// Lines for a folder of a user's: whole ones, in files that only their owner can read, a new file above a size. What
// writes here must never suffer from the disk: lines wait in a bounded queue, and what does not fit or cannot be written
// is dropped and counted.
//
// Invariants
//   L1  A file holds whole lines; only one that a crash or a full disk cut may end in a torn one, and nothing is ever
//       appended to that: a process begins a file of its own, and after a failed write goes on where the last whole line
//       ended, or in the next one. No file is left that holds none.
//   L2  At most MAX_QUEUED_BYTES wait. `add` never waits and never throws.
//   L3  After a failed write the disk is left alone, for FIRST_PAUSE_MS and then for twice as long each time.

import { mkdir, open, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

const FILE_MODE = 0o600
export const MAX_FILE_BYTES = 64 * 2 ** 20
const MAX_QUEUED_BYTES = 32 * 2 ** 20
const MAX_FILES_TRIED = 1_000_000
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 30_000

export interface LineFileOptions {
  readonly folder: string // made at the first line
  readonly name: string // of the files, before `-N.jsonl`
  readonly maxFileBytes?: number | undefined
  readonly maxQueuedBytes?: number | undefined
  readonly nowMs?: (() => number) | undefined // monotonic
  /** Lines were dropped, for the first time or after a good write. */
  readonly onDropped?: ((why: string) => void) | undefined
}

export interface LineFile {
  /** Appends a line (without its end). False where it was dropped at once. */
  add(line: string): boolean
  /** Resolves when all that was added is written or dropped. */
  flush(): Promise<void>
  /** Writes what waits and closes the file. */
  close(): Promise<void>
  readonly numDropped: number
}

interface OpenFile {
  readonly path: string
  readonly handle: FileHandle
  size: number
}

export function createLineFile(options: LineFileOptions): LineFile {
  const { folder, name, maxFileBytes = MAX_FILE_BYTES, maxQueuedBytes = MAX_QUEUED_BYTES } = options
  const { nowMs = () => performance.now() } = options
  let queue: Buffer[] = []
  let queuedBytes = 0
  let numDropped = 0
  let isTold = false // that lines are dropped
  let pauseMs = 0 // after the last write, which failed
  let pausedUntilMs = -Infinity
  let number = 0 // of the last file
  let file: OpenFile | undefined
  let writing: Promise<void> | undefined

  const drop = (count: number, why: string): void => {
    numDropped += count
    if (!isTold) options.onDropped?.(why)
    isTold = true
  }

  /** A file that did not exist: another process may have had our id before (L1). */
  const openNext = async (): Promise<OpenFile> => {
    await mkdir(folder, { recursive: true })
    for (let tried = 0; ; tried++) {
      try {
        const path = join(folder, `${name}-${(number += 1)}.jsonl`)
        return { path, handle: await open(path, 'ax', FILE_MODE), size: 0 }
      } catch (error) {
        if (!isTaken(error) || tried === MAX_FILES_TRIED) throw error
      }
    }
  }

  const closeFile = async (): Promise<void> => {
    const closing = file
    file = undefined
    await closing?.handle.close().catch(() => undefined) // what it held is written, or was counted
    if (closing?.size === 0) await unlink(closing.path).catch(() => undefined)
  }

  /** Takes back the half of a line that a failed write may have left. */
  const mend = async (): Promise<void> => {
    try {
      await file?.handle.truncate(file.size)
    } catch {
      await closeFile()
    }
  }

  /** The first lines of the queue that go into one file together. */
  const takeBatch = (): Buffer[] => {
    const room = maxFileBytes - (file?.size ?? 0)
    let size = 0
    let count = 0
    while (count < queue.length && (count === 0 || size + queue[count]!.length <= room)) size += queue[count++]!.length
    const batch = queue.slice(0, count)
    queue = queue.slice(count)
    queuedBytes -= size
    return batch
  }

  const writeBatch = async (lines: readonly Buffer[]): Promise<void> => {
    const bytes = Buffer.concat(lines)
    if (file !== undefined && file.size > 0 && file.size + bytes.length > maxFileBytes) await closeFile()
    file ??= await openNext()
    await file.handle.appendFile(bytes)
    file.size += bytes.length
  }

  const writeAll = async (): Promise<void> => {
    while (queue.length > 0) {
      const batch = takeBatch()
      try {
        await writeBatch(batch)
        isTold = false
        pauseMs = 0
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error)
        drop(batch.length + queue.length, why)
        queue = []
        queuedBytes = 0
        pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, 2 * pauseMs))
        pausedUntilMs = nowMs() + pauseMs
        await mend()
      }
    }
  }

  const pump = (): Promise<void> =>
    (writing ??= writeAll().then(() => {
      writing = undefined
      return queue.length > 0 ? pump() : undefined // came after the last look
    }))

  const flush = async (): Promise<void> => {
    while (writing !== undefined) await writing
  }

  return {
    add: (line) => {
      if (nowMs() < pausedUntilMs) {
        drop(1, 'the last write failed')
        return false
      }
      const bytes = Buffer.from(`${line}\n`)
      if (queuedBytes + bytes.length > maxQueuedBytes) {
        drop(1, 'the disk is slower than what is to be written')
        return false
      }
      queue.push(bytes)
      queuedBytes += bytes.length
      void pump()
      return true
    },
    flush,
    close: async () => {
      await flush()
      await closeFile()
    },
    get numDropped() {
      return numDropped
    },
  }
}

const isTaken = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'EEXIST'
