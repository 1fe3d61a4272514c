// `banyan fetch URL`: a model into a folder, for the container that runs before a service, or by hand.

import { readFile } from 'node:fs/promises'
import { ClusterError } from '../../lib/errors.js'
import type { Flags } from '../cluster-flags.js'
import { fetchModel } from '../fetch/fetch-model.js'
import { shown, sourceOf } from '../fetch/source.js'
import { parseSums } from '../fetch/sums.js'
import { watchSignals } from '../interruption.js'
import { usageError } from '../report-error.js'
import { createProgress, notify, print, printJson } from '../terminal.js'

const TIMEOUT_MS = 2 * 60 * 60 * 1000
const MAX_TIMER_MS = 2 ** 31 - 1
const MAX_BYTES = 2 ** 41
const STALL_MS = 30_000
const RETRY_MS = 500
const MB = 1e6

/** Fills `--to` with what `--sums` lists. */
export async function fetchCommand(url: string, flags: Flags): Promise<number> {
  const { to, sums: list, timeoutMs = TIMEOUT_MS, maxBytes = MAX_BYTES, json } = flags
  if (typeof to !== 'string' || to === '') throw usageError('fetch: want --to DIR, found none')
  if (typeof list !== 'string' || list === '') throw usageError('fetch: want --sums FILE, found none')
  const source = sourceOf(url, process.env.BANYAN_FETCH_TOKEN)
  if (source.url.protocol === 'http:')
    notify(`${shown(source.url)}: http shows to everyone what is fetched; the hashes keep it whole`)
  const sums = parseSums(await readList(list), list)
  const interruption = watchSignals(process, () => Date.now())
  const deadline = AbortSignal.timeout(Math.min(Number(timeoutMs), MAX_TIMER_MS))
  const progress = createProgress('MB', 0)
  try {
    const fetched = await fetchModel(sums, {
      folder: to,
      open: source.open,
      signal: AbortSignal.any([interruption.signal, deadline]),
      stallMs: STALL_MS,
      retryMs: RETRY_MS,
      maxBytes: Number(maxBytes),
      onFile: ({ path }) => process.stderr.isTTY || notify(`${path}: verified`), // the bar says it on a terminal
      onProgress: ({ bytes = 0, total = 0 }) => {
        progress.grow(total / MB)
        progress.step(bytes / MB)
      },
      notify,
    })
    report({ folder: to, files: sums.length, ...fetched }, json === true)
    return 0
  } catch (error) {
    if (interruption.signal.aborted)
      throw new ClusterError('cancelled', 'fetch: interrupted; the same command goes on from here')
    if (!deadline.aborted) throw error
    throw new ClusterError(
      'deadline_exceeded',
      `fetch: want everything within ${Number(timeoutMs)} ms (--timeout-ms), found it unfinished`,
    )
  } finally {
    progress.stop()
  }
}

interface Report {
  readonly folder: string
  readonly files: number
  readonly bytes: number
  readonly fetchedBytes: number
  readonly wasThere: boolean
}

function report(result: Report, asJson: boolean): void {
  if (asJson) return printJson(result)
  const { folder, files, bytes, fetchedBytes, wasThere } = result
  const how = wasThere ? 'was there' : `${(fetchedBytes / MB).toFixed(1)} MB fetched`
  print(`${folder}: ${files} files, ${(bytes / MB).toFixed(1)} MB, ${how}`)
}

async function readList(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new ClusterError('not_found', `--sums: want a file that can be read: ${(error as Error).message}`, {
      cause: error,
    })
  })
}
