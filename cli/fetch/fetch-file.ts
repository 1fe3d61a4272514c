// One file of a model: fetched beside its place under a temporary name, verified, then renamed.
//
// Invariants
//   FF1  Under its own name a file has the wanted hash, as read back from the disk.
//   FF2  Bytes are written at their own offsets: what was fetched before is gone on with, and two processes that fetch
//        the same file into the same folder write the same bytes to the same places.
//   FF3  What the wanted hash does not fit is deleted. Bytes of an earlier run are given up once; fresh ones are an error.

import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { mkdir, open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterError } from '../../lib/errors.js'
import type { Open } from './source.js'
import { PART_SUFFIX, type Sum } from './sums.js'

export interface FetchOptions {
  readonly folder: string
  readonly open: Open
  readonly signal: AbortSignal
  readonly stallMs: number // without a byte for so long, a connection is given up
  readonly retryMs: number // before the first retry; doubles up to 32 times that
  readonly onBytes: (numBytes: number) => void // fresh ones; what it throws ends the download
  readonly onTotal: (numBytes: number) => void // what is left of a file, when it is known
  readonly notify: (line: string) => void
}

const READ_BYTES = 2 ** 20
const MAX_FAILURES = 6 // in a row, without a byte between them

/** Has the file in its folder, whole and verified. */
export async function fetchFile({ path, sha256 }: Sum, options: FetchOptions): Promise<void> {
  const target = join(options.folder, path)
  const part = target + PART_SUFFIX
  await makeFolder(path, options.folder)
  if ((await hashOf(target, options.signal)) === sha256) return
  let isFresh = (await sizeOf(part)) === 0
  for (;;) {
    await fetchPart(path, part, options)
    const found = await hashOf(part, options.signal)
    if (found === sha256 && (await isMoved(part, target))) return
    await rm(part, { force: true })
    if ((await hashOf(target, options.signal)) === sha256) return // another process was quicker
    if (isFresh)
      throw new ClusterError('data_loss', `${path}: want SHA-256 ${sha256}, found ${found ?? 'no file'}`, BAD_COPY)
    options.notify(`${path}: what was fetched before does not fit its hash; from the beginning`)
    isFresh = true
  }
}

const isMoved = (from: string, to: string): Promise<boolean> =>
  rename(from, to).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === 'ENOENT') return false
      throw writeError(error, to)
    },
  )

const BAD_COPY = { details: { hint: 'the list of hashes and the folder behind the URL are not of the same model' } }

/** Goes on until the source has no more of the file; a connection that breaks is opened again where it broke. */
async function fetchPart(path: string, part: string, options: FetchOptions): Promise<void> {
  for (let failures = 0; ;) {
    const before = await sizeOf(part)
    try {
      return await download(path, part, before, options)
    } catch (thrown) {
      options.signal.throwIfAborted()
      const error = writeError(thrown, options.folder)
      if (error.code !== 'unavailable') throw error
      failures = (await sizeOf(part)) > before ? 1 : failures + 1
      if (failures >= MAX_FAILURES) throw error
      options.notify(`${error.message}; trying again`)
      await sleep(options.retryMs * 2 ** (failures - 1), undefined, { signal: options.signal })
    }
  }
}

const WITHOUT_LINK = constants.O_CREAT | constants.O_RDWR | constants.O_NOFOLLOW

async function download(path: string, part: string, from: number, options: FetchOptions): Promise<void> {
  const stalled = new AbortController()
  const watch = setTimeout(() => stalled.abort(), options.stallMs)
  const signal = AbortSignal.any([options.signal, stalled.signal])
  try {
    const content = await options.open(path, from, signal)
    if (content.offset > from)
      throw new ClusterError(
        'failed_precondition',
        `${path}: want bytes from ${from} on, found those from ${content.offset}`,
      )
    if (content.totalBytes !== undefined) options.onTotal(content.totalBytes - content.offset)
    const file = await open(part, WITHOUT_LINK, 0o644)
    try {
      await write(file, content, { ...options, onBytes: (n) => (watch.refresh(), options.onBytes(n)) })
    } finally {
      await file.close()
    }
  } catch (error) {
    if (!stalled.signal.aborted || options.signal.aborted) throw error
    throw new ClusterError('unavailable', `${path}: no byte for ${options.stallMs / 1000} s`, { cause: error })
  } finally {
    clearTimeout(watch)
  }
}

type Body = Awaited<ReturnType<Open>>

async function write(
  file: FileHandle,
  { offset, totalBytes, bytes }: Body,
  { onBytes }: Pick<FetchOptions, 'onBytes'>,
): Promise<void> {
  let end = offset
  for await (const piece of bytes) {
    onBytes(piece.byteLength)
    for (let done = 0; done < piece.byteLength;) {
      done += (await file.write(piece, done, piece.byteLength - done, end + done)).bytesWritten
    }
    end += piece.byteLength
  }
  if (totalBytes !== undefined && end < totalBytes)
    throw new ClusterError('unavailable', `want ${totalBytes} bytes, found the end after ${end}`)
  await file.sync()
}

/** Makes the folders of a path one by one: no symbolic link leads out of the model's. */
async function makeFolder(path: string, root: string): Promise<void> {
  const real = await realpath(root)
  let folder = root
  for (const part of path.split('/').slice(0, -1)) {
    folder = join(folder, part)
    await mkdir(folder).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw writeError(error, folder)
    })
    const found = await realpath(folder)
    if (!`${found}${sep}`.startsWith(`${real}${sep}`))
      throw new ClusterError(
        'failed_precondition',
        `${folder}: want a folder inside of ${root}, found a link to ${found}`,
      )
  }
}

/** Hash of a file as it is on the disk; undefined where there is none. */
async function hashOf(file: string, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const piece of createReadStream(file, { highWaterMark: READ_BYTES, signal }))
      hash.update(piece as Buffer) // bytes: no encoding is set
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (codeOf(error) !== 'EISDIR') throw error
    throw new ClusterError('failed_precondition', `${file}: want a file or nothing, found a folder`)
  }
  return hash.digest('hex')
}

const sizeOf = async (file: string): Promise<number> =>
  stat(file).then(
    ({ size }) => size,
    () => 0,
  )

const WRITE_CODES: Readonly<Record<string, ConstructorParameters<typeof ClusterError>[0]>> = {
  ENOSPC: 'resource_exhausted',
  EDQUOT: 'resource_exhausted',
  EACCES: 'permission_denied',
  EPERM: 'permission_denied',
  EROFS: 'permission_denied',
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code // undefined where it is none

/** What the file system says, as the one error class. */
export function writeError(error: unknown, folder: string): ClusterError {
  const code = WRITE_CODES[codeOf(error) ?? '']
  if (code === undefined) return ClusterError.from(error)
  return new ClusterError(
    code,
    `${folder}: want a folder with room that can be written to: ${(error as Error).message}`,
    {
      cause: error,
    },
  )
}
