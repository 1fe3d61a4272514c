// Files of records, one JSON line each, in a folder: a new file when one is large. A line is written at once, so a file
// holds whole records but for the last one of a writer that was killed.

import { mkdir, open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { ClusterError } from '../../lib/errors.js'

const MAX_FILE_BYTES = 64 * 1024 * 1024
const FILE_MODE = 0o600
const MAX_FILES = 100_000

export interface RecordFiles {
  readonly files: readonly string[]
  readonly numBytes: number
  add(line: string): Promise<void>
  close(): Promise<void>
}

/** Files `<name>-<number>.jsonl`, numbered on from what lies there already; none before the first record. */
export function openRecordFiles(folder: string, name: string, maxBytes = MAX_FILE_BYTES): RecordFiles {
  const files: string[] = []
  let number = 1
  let numBytes = 0
  let fileBytes = 0
  let handle: FileHandle | undefined

  const next = async (): Promise<FileHandle> => {
    await handle?.close()
    await mkdir(folder, { recursive: true })
    for (; number < MAX_FILES; number++) {
      const file = join(folder, `${name}-${String(number).padStart(5, '0')}.jsonl`)
      const opened = await open(file, 'wx', FILE_MODE).catch((error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined
        throw error
      })
      if (opened === undefined) continue
      files.push(file)
      fileBytes = 0
      return opened
    }
    throw new ClusterError('failed_precondition', `${folder}: want a free file name, found ${MAX_FILES} taken`)
  }

  return {
    files,
    get numBytes() {
      return numBytes
    },
    add: async (line) => {
      const bytes = Buffer.from(`${line}\n`)
      if (handle === undefined || fileBytes + bytes.length > maxBytes) handle = await next()
      await handle.appendFile(bytes)
      fileBytes += bytes.length
      numBytes += bytes.length
    },
    close: async () => {
      await handle?.close()
      handle = undefined
    },
  }
}
