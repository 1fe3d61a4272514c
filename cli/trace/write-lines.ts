// Lines into a file that is there as a whole or not at all: written beside it, then put in its place.

import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { ClusterError } from '../../lib/errors.js'

const FILE_MODE = 0o600 // traces may hold what people wrote: for their owner only
const BATCH_CHARS = 1 << 16

/** Gzipped where the name ends in .gz. */
export async function writeLines(file: string, lines: Iterable<string>, signal: AbortSignal): Promise<void> {
  const beside = `${file}.partial`
  const target = createWriteStream(beside, { mode: FILE_MODE })
  try {
    const source = Readable.from(batches(lines), { objectMode: false })
    if (file.endsWith('.gz')) await pipeline(source, createGzip(), target, { signal })
    else await pipeline(source, target, { signal })
    await rename(beside, file)
  } catch (error) {
    await rm(beside, { force: true })
    if (signal.aborted)
      throw new ClusterError('cancelled', `${file}: interrupted, nothing was written`, { cause: error })
    const problem = error instanceof Error ? error.message : String(error)
    throw new ClusterError('failed_precondition', `${file}: want a file to write, ${problem}`, { cause: error })
  }
}

/** Lines to standard output; a reader that has seen enough ends it. */
export async function printLines(lines: Iterable<string>, signal: AbortSignal): Promise<void> {
  const source = Readable.from(batches(lines), { objectMode: false })
  await pipeline(source, process.stdout, { signal, end: false }).catch((error: unknown) => {
    throw signal.aborted ? new ClusterError('cancelled', 'interrupted', { cause: error }) : error
  })
}

function* batches(lines: Iterable<string>): Generator<string> {
  let batch = ''
  for (const line of lines) {
    batch += `${line}\n`
    if (batch.length < BATCH_CHARS) continue
    yield batch
    batch = ''
  }
  if (batch !== '') yield batch
}
