// A model's files into a folder, several at a time, within bounds of time and size. A folder that an earlier run filled is
// told by its marker, without reading the files again.

import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { ClusterError } from '../../lib/errors.js'
import { fetchFile, writeError, type FetchOptions } from './fetch-file.js'
import { digestOf, type Sum } from './sums.js'

export interface ModelFetchOptions extends Omit<FetchOptions, 'onBytes' | 'onTotal'> {
  readonly maxBytes: number // fetched by this run, all files
  readonly onFile: (sum: Sum) => void
  readonly onProgress: (progress: { readonly bytes?: number; readonly total?: number }) => void
}

export interface Fetched {
  readonly bytes: number // in the folder
  readonly fetchedBytes: number // by this run
  readonly wasThere: boolean // an earlier run had left everything
}

const MARKER = '.banyan-fetched.json'
const PARALLEL = 4

const markerSchema = z.object({
  list: z.string(), // digest of the sums
  files: z.record(z.string(), z.object({ bytes: z.number(), mtimeMs: z.number() })),
})

type Files = z.infer<typeof markerSchema>['files']

/** Returns when every file is there with its hash; throws the first error otherwise, and leaves what can be gone on with. */
export async function fetchModel(sums: readonly Sum[], options: ModelFetchOptions): Promise<Fetched> {
  const { folder, maxBytes, onProgress } = options
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw writeError(error, folder)
  })
  const left = await readMarker(folder, sums)
  if (left !== undefined) return { bytes: sumOf(left), fetchedBytes: 0, wasThere: true }
  let fetchedBytes = 0
  const onBytes = (numBytes: number): void => {
    fetchedBytes += numBytes
    if (fetchedBytes > maxBytes)
      throw new ClusterError('resource_exhausted', `fetch: want at most ${maxBytes} bytes (--max-bytes), found more`)
    onProgress({ bytes: numBytes })
  }
  await inParallel(sums, options.signal, async (sum, signal) => {
    let isTotalKnown = false
    const onTotal = (total: number): void => {
      if (!isTotalKnown) onProgress({ total })
      isTotalKnown = true
    }
    await fetchFile(sum, { ...options, signal, onBytes, onTotal })
    options.onFile(sum)
  })
  const files = await filesOf(folder, sums)
  await writeMarker(folder, { list: digestOf(sums), files })
  return { bytes: sumOf(files), fetchedBytes, wasThere: false }
}

/** The first failure ends the others. */
async function inParallel(
  sums: readonly Sum[],
  outer: AbortSignal,
  run: (sum: Sum, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController()
  const signal = AbortSignal.any([outer, failed.signal])
  const waiting = [...sums]
  const work = async (): Promise<void> => {
    for (let sum = waiting.shift(); sum !== undefined && !signal.aborted; sum = waiting.shift()) await run(sum, signal)
    outer.throwIfAborted()
  }
  const first: { error?: unknown } = {}
  const workers = Array.from({ length: PARALLEL }, () =>
    work().catch((error: unknown) => {
      if (!signal.aborted) first.error = error
      failed.abort()
    }),
  )
  await Promise.all(workers)
  outer.throwIfAborted()
  if ('error' in first) throw first.error
}

async function filesOf(folder: string, sums: readonly Sum[]): Promise<Files> {
  const entries = sums.map(async ({ path }) => {
    const { size, mtimeMs } = await stat(join(folder, path))
    return [path, { bytes: size, mtimeMs }] as const
  })
  return Object.fromEntries(await Promise.all(entries))
}

const sumOf = (files: Files): number => Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0)

/** The files of an earlier run of the same list, where all are as that run left them. */
async function readMarker(folder: string, sums: readonly Sum[]): Promise<Files | undefined> {
  try {
    const marker = markerSchema.parse(JSON.parse(await readFile(join(folder, MARKER), 'utf8')))
    if (marker.list !== digestOf(sums)) return undefined
    const found = await filesOf(folder, sums)
    const isAsLeft = Object.entries(found).every(([path, { bytes, mtimeMs }]) => {
      const left = marker.files[path]
      return left?.bytes === bytes && left.mtimeMs === mtimeMs
    })
    return isAsLeft ? found : undefined
  } catch {
    return undefined // no marker, a damaged one or a missing file: everything is looked at
  }
}

async function writeMarker(folder: string, marker: z.infer<typeof markerSchema>): Promise<void> {
  const beside = join(folder, `${MARKER}.${randomUUID()}`) // another process may be at the same
  await writeFile(beside, JSON.stringify(marker))
  await rename(beside, join(folder, MARKER))
}
