// Opening the files of a model: each way in which a path can be no file to read is one error, which names the path, what
// was wanted and what was found.

import { closeSync, openSync, readdirSync, readFileSync, statSync, type Stats } from 'node:fs'
import { ClusterError, type ErrorCode } from '../errors.js'

/** Opens a file to read. Throws `not_found`, `permission_denied` or `invalid_argument` naming the path. */
export function openFile(path: string): number {
  return attempt(path, 'a file', () => {
    const found = statSync(path) // before opening, which waits where a pipe has no writer
    if (!found.isFile()) throw other(path, 'a file', kindOf(found))
    if (found.size === 0) throw other(path, 'a file with something in it', 'an empty one')
    return openSync(path, 'r')
  })
}

/** A file's text, of at least one character. */
export function readText(path: string): string {
  const fd = openFile(path)
  try {
    return readFileSync(fd, 'utf8')
  } finally {
    closeSync(fd)
  }
}

/** Names in a folder. `wanted` is what the path should be, for errors. */
export function listFolder(path: string, wanted = 'a folder'): readonly string[] {
  return attempt(path, wanted, () => {
    const found = statSync(path)
    if (!found.isDirectory()) throw other(path, wanted, kindOf(found))
    return readdirSync(path)
  })
}

function attempt<T>(path: string, wanted: string, use: () => T): T {
  try {
    return use()
  } catch (error) {
    throw error instanceof ClusterError ? error : cannotOpen(path, wanted, error)
  }
}

const other = (path: string, wanted: string, found: string): ClusterError =>
  new ClusterError('invalid_argument', `${path}: want ${wanted}, got ${found}`)

const kindOf = (found: Stats): string =>
  found.isDirectory() ? 'a folder' : found.isFile() ? 'a file' : 'neither a file nor a folder'

const REASONS: Readonly<Record<string, readonly [code: ErrorCode, found: string]>> = {
  ENOENT: ['not_found', 'nothing: no such file'],
  ENOTDIR: ['not_found', 'nothing: no such file'],
  EACCES: ['permission_denied', 'one that this process may not read'],
  EPERM: ['permission_denied', 'one that this process may not read'],
}

/** What the system's refusal to open a path means. */
export function cannotOpen(path: string, wanted: string, cause: unknown): ClusterError {
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause)
  const [code, found] = REASONS[reason] ?? ['invalid_argument', `one that cannot be opened (${reason})`]
  return new ClusterError(code, `${path}: want ${wanted}, got ${found}`, { cause })
}
