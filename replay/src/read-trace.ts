// Reads a trace: finds out what format its files are, reads them item by item, puts the requests in order.
//
// Invariants
//   R1  A broken item is an error with file and line; with `skipBad` it is kept in `skipped` and nothing else is lost.
//   R2  Times that are out of order are put in order, and said so; the order of equal times is the file's.

import { counted, wereOrWas } from './counted.js'
import type { Item, RawRequest, Reader, Sample, TraceFormat } from './formats/format.js'
import { BadItem } from './formats/format.js'
import { parseJson } from './formats/fields.js'
import { FORMATS } from './formats/index.js'
import { foreignFormat, readItems } from './formats/items.js'
import { findFiles } from './files.js'
import type { SkippedLine, Trace, TraceRequest } from './trace.js'
import { TraceError } from './trace-error.js'

export interface ReadOptions {
  /** Broken lines are left out and listed instead of failing. */
  readonly skipBad?: boolean
  /** Prompt tokens per hash where the format leaves that open (Mooncake's 512, Bailian's 16). */
  readonly blockTokens?: number
  readonly maxItemChars?: number
  /** Requests of our own records carry those along, whole. */
  readonly keepsRecords?: boolean
}

const SAMPLE_ITEMS = 16
const MAX_SKIPPED = 100_000 // then the file is another format or garbage

/** Everything that the path holds, whatever format it is in. */
export async function readTrace(path: string, options: ReadOptions = {}): Promise<Trace> {
  const { format, files } = await chooseFiles(path, options)
  const reader = format.createReader(options)
  const skipped: SkippedLine[] = []
  const notices: string[] = []
  const raw: RawRequest[] = []
  for (const file of files) await readFile(file, reader, { options, raw, skipped, notices })
  const rest = reader.finish?.() ?? {}
  for (const request of rest.requests ?? []) raw.push(request)
  notices.push(...(rest.notices ?? []))
  if (raw.length === 0) throw new TraceError('invalid_argument', noRequests(path, format, { skipped, notices }))
  return arrange(raw, { format, files, skipped, notices })
}

interface Gathered {
  readonly options: ReadOptions
  readonly raw: RawRequest[]
  readonly skipped: SkippedLine[]
  readonly notices: string[]
}

async function readFile(file: string, reader: Reader, { options, raw, skipped, notices }: Gathered): Promise<void> {
  const take = (item: Item): void => {
    try {
      for (const request of reader.read(item)) raw.push(request)
    } catch (error) {
      if (!(error instanceof BadItem)) throw error
      if (item.isTorn && reader.tornNotice !== undefined) notices.push(`${file}:${item.line}: ${reader.tornNotice}`)
      else if (options.skipBad !== true || skipped.length >= MAX_SKIPPED)
        throw new TraceError('invalid_argument', `${file}:${item.line}: ${error.message}`, { cause: error })
      else skipped.push({ file, line: item.line, problem: error.message })
    }
  }
  for await (const items of readItems(file, options.maxItemChars)) for (const item of items) take(item)
}

interface Chosen {
  readonly format: TraceFormat
  readonly files: readonly string[]
}

/** A folder's files of one format: our own records before anything else that lies beside them. */
async function chooseFiles(path: string, options: ReadOptions): Promise<Chosen> {
  const { files, isFolder } = await findFiles(path)
  const refusals: string[] = []
  const known = new Map<TraceFormat, string[]>()
  for (const file of files) {
    const found = await recognise(file, options)
    if (typeof found === 'string') refusals.push(found)
    else known.set(found, [...(known.get(found) ?? []), file])
  }
  const [first, ...others] = FORMATS.filter((format) => known.has(format))
  if (first === undefined)
    throw new TraceError('invalid_argument', isFolder ? noTraces(path, refusals) : refusals.join(''))
  const isOurs = first === FORMATS[0]
  if (others.length > 0 && !isOurs)
    throw new TraceError(
      'invalid_argument',
      `${path}: want a folder of one format, found ${[first, ...others].map(({ name }) => name).join(', ')}`,
    )
  return { format: first, files: known.get(first) ?? [] }
}

const MAX_REFUSALS = 3 // told of a folder

function noTraces(path: string, refusals: readonly string[]): string {
  const more = refusals.length > MAX_REFUSALS ? ['…'] : []
  const found = `${path}: want a folder with traces, found ${counted(refusals.length, 'file')} and no trace among them`
  return [found, ...refusals.slice(0, MAX_REFUSALS), ...more].join('; ')
}

const noRequests = (
  path: string,
  { name }: TraceFormat,
  { skipped, notices }: Pick<Gathered, 'skipped' | 'notices'>,
): string => {
  const why = [...(skipped.length > 0 ? [counted(skipped.length, 'broken line')] : []), ...notices]
  return `${path}: want at least one request (read as ${name}), found none${why.length > 0 ? `: ${why.join('; ')}` : ''}`
}

/** The format, or why the file is of none. */
async function recognise(file: string, { maxItemChars }: ReadOptions): Promise<TraceFormat | string> {
  const foreign = await foreignFormat(file)
  if (foreign !== undefined) return `${file}: want UTF-8 text, or that in gzip, found ${foreign}`
  const items = await firstItems(file, maxItemChars)
  if (items.length === 0) return `${file}: want a trace, found an empty file`
  const sample: Sample = { items, values: items.map(({ text }) => valueOf(text)) }
  const reasons: string[] = []
  for (const format of FORMATS) {
    const reason = format.recognise(sample)
    if (reason === undefined) return format
    reasons.push(`${format.name} (${reason})`)
  }
  return `${file}: want a trace of a known format; tried ${reasons.join(', ')}`
}

function valueOf(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return undefined
  try {
    return parseJson(text)
  } catch {
    return undefined // no JSON is a finding too
  }
}

async function firstItems(file: string, maxItemChars: number | undefined): Promise<readonly Item[]> {
  const first: Item[] = []
  for await (const items of readItems(file, maxItemChars)) {
    first.push(...items.slice(0, SAMPLE_ITEMS - first.length))
    if (first.length >= SAMPLE_ITEMS) break
  }
  return first
}

interface Origin extends Chosen {
  readonly skipped: readonly SkippedLine[]
  readonly notices: readonly string[]
}

function arrange(raw: RawRequest[], { format, files, skipped, notices }: Origin): Trace {
  const timed = raw.filter(({ timeMs }) => timeMs !== undefined)
  const isUntimed = timed.length === 0
  if (!isUntimed && timed.length < raw.length)
    throw new TraceError(
      'invalid_argument',
      `${files.join(', ')}: want a time in every request or in none, found ${timed.length} of ${raw.length}`,
    )
  const numLate = sortByTime(raw)
  const startMs = raw[0]?.timeMs ?? 0
  const order =
    numLate === 0 || !format.isOrdered || files.length > 1
      ? []
      : [`${counted(numLate, 'request')} ${wereOrWas(numLate)} out of order: sorted by time`]
  return {
    format: format.name,
    files,
    requests: withIds(raw, startMs),
    skipped,
    notices: [...notices, ...order],
    ...(isUntimed && { isUntimed }),
    ...(format.isDated && !isUntimed && { startUnixMs: startMs }),
  }
}

/** Sorts in place; returns how many came after one that is later. */
function sortByTime(raw: RawRequest[]): number {
  let latest = Number.NEGATIVE_INFINITY
  let numLate = 0
  for (const { timeMs = 0 } of raw) {
    if (timeMs < latest) numLate++
    else latest = timeMs
  }
  if (numLate > 0) raw.sort((a, b) => (a.timeMs ?? 0) - (b.timeMs ?? 0))
  return numLate
}

/** Milliseconds to whole microseconds: what is left of dates in doubles beyond that is noise. */
const toMicros = (ms: number): number => Math.round(ms * 1000) / 1000

function withIds(raw: readonly RawRequest[], startMs: number): TraceRequest[] {
  const taken = new Set<string>()
  const copies = new Map<string, number>() // of an id: the number that its next copy gets
  return raw.map(({ id, timeMs = startMs, ...request }, i) => {
    const wanted = id ?? `request-${i + 1}`
    let unique = wanted
    for (let copy = copies.get(wanted) ?? 2; taken.has(unique); copy++) {
      unique = `${wanted}#${copy}`
      copies.set(wanted, copy + 1)
    }
    taken.add(unique)
    return { id: unique, arrivalMs: toMicros(timeMs - startMs), ...request }
  })
}
