// Which files a path means: the file itself, or a folder's files in the order of their names.

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TraceError } from './trace-error.js'

export interface FoundFiles {
  readonly files: readonly string[]
  readonly isFolder: boolean
}

/** Hidden files and folders inside the folder are left alone. */
export async function findFiles(path: string): Promise<FoundFiles> {
  const found = await stat(path).catch((error: unknown) => {
    throw new TraceError('not_found', `${path}: want a trace file or a folder of them, found nothing there`, {
      cause: error,
    })
  })
  if (!found.isDirectory()) return { files: [path], isFolder: false }
  const entries = await readdir(path, { withFileTypes: true })
  const names = entries.filter((entry) => entry.isFile() && !entry.name.startsWith('.')).map(({ name }) => name)
  return { files: names.sort().map((name) => join(path, name)), isFolder: true }
}
