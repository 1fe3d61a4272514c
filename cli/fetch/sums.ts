// The list of a model's files with their hashes, as `sha256sum` writes it. It says what is fetched and where it may lie.
//
// Invariant
//   S1  A path of a list stays inside the folder: relative, without `..`, with `/` alone between its parts.

import { createHash } from 'node:crypto'
import { ClusterError } from '../../lib/errors.js'

export interface Sum {
  readonly path: string // 'model-00001-of-00002.safetensors'
  readonly sha256: string // 64 hexadecimal digits, lower case
}

/** Suffix of files that are not whole yet. */
export const PART_SUFFIX = '.part'

const LINE = /^([0-9a-f]{64}) [ *](.+)$/i
const MAX_FILES = 100_000

/** Reads a list; `name` is its file's, for errors. */
export function parseSums(text: string, name: string): readonly Sum[] {
  const sums = new Map<string, Sum>()
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '')
    if (line === '') continue
    const where = `${name}, line ${i + 1}`
    const [, hash = '', given = ''] = LINE.exec(line) ?? []
    if (hash === '') throw invalid(`${where}: want a SHA-256 and a path as sha256sum writes them, found ${quote(line)}`)
    const path = given.replace(/^(\.\/)+/, '')
    if (!isInside(path)) throw invalid(`${where}: want a path inside of the folder, found ${quote(given)}`)
    if (path.endsWith(PART_SUFFIX) || path.startsWith('.banyan-'))
      throw invalid(`${where}: want a file's own name, found ${quote(path)}, which is kept for the download itself`)
    if (sums.has(path)) throw invalid(`${where}: want each path once, found ${quote(path)} again`)
    sums.set(path, { path, sha256: hash.toLowerCase() })
  }
  if (sums.size === 0 || sums.size > MAX_FILES)
    throw invalid(`${name}: want 1 to ${MAX_FILES} files, found ${sums.size}`)
  return [...sums.values()]
}

/** Names a list: equal lists, equal digests. */
export const digestOf = (sums: readonly Sum[]): string =>
  createHash('sha256')
    .update(
      sums
        .map(({ sha256, path }) => `${sha256}  ${path}\n`)
        .sort()
        .join(''),
    )
    .digest('hex')

const isInside = (path: string): boolean =>
  !/[\0\\]/.test(path) && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')

const quote = (text: string): string => JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text)

const invalid = (message: string): ClusterError => new ClusterError('invalid_argument', message)
