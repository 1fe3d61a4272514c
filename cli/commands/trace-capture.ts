// `banyan trace capture`: the requests of running routers into files, until somebody or a bound says that it is enough.
// Without a URL it is `up` that records.

import { counted } from '../../replay/src/index.js'
import type { RecordContent } from '../../lib/traffic/request-record.js'
import { clientTls, fetchWith } from '../client-tls.js'
import type { Flags } from '../cluster-flags.js'
import { watchSignals } from '../interruption.js'
import { usageError } from '../report-error.js'
import { notify, print, printJson } from '../terminal.js'
import { readFeed } from '../trace/record-feed.js'
import { openRecordFiles, type RecordFiles } from '../trace/record-files.js'
import { apiKeyOf } from './status.js'
import { up } from './up.js'

const CONTENTS: readonly RecordContent[] = ['hash', 'ids', 'text'] // each more than the one before
const PROGRESS_MS = 500
const MS_PER_SECOND = 1000
const MEGABYTE = 1e6

export async function traceCapture({ url, out, seconds, limit, content = 'ids', ...flags }: Flags): Promise<number> {
  const wanted = CONTENTS.find((known) => known === content)
  if (wanted === undefined) throw usageError(`--content: want ${CONTENTS.join(', ')}, found ${JSON.stringify(content)}`)
  if (typeof out !== 'string') throw usageError('trace capture: want --out DIR, found none')
  if (!Array.isArray(url)) {
    if (seconds !== undefined || limit !== undefined)
      throw usageError('trace capture: want --url with --seconds or --limit, found none')
    return up({ ...flags, traceDir: out, traceContent: wanted })
  }
  const urls = url.map((text) => String(text).replace(/\/+$/, ''))
  return capture({
    urls,
    out,
    content: wanted,
    flags,
    limit: typeof limit === 'number' ? limit : Number.POSITIVE_INFINITY,
    ...(typeof seconds === 'number' && { seconds }),
  })
}

interface CaptureOptions {
  readonly urls: readonly string[]
  readonly out: string
  readonly content: RecordContent
  readonly limit: number
  readonly seconds?: number
  readonly flags: Flags
}

interface Counts {
  requests: number
  readonly contents: Set<RecordContent>
}

async function capture({ urls, out, content, limit, seconds, flags }: CaptureOptions): Promise<number> {
  const interruption = watchSignals(process, () => Date.now())
  const enough = new AbortController()
  const signal = AbortSignal.any([interruption.signal, enough.signal])
  const timer = seconds === undefined ? undefined : setTimeout(() => enough.abort(), seconds * MS_PER_SECOND)
  const [apiKey, send] = [apiKeyOf(flags), fetchWith(clientTls(flags))]
  const counts: Counts = { requests: 0, contents: new Set() }
  const all = urls.map((url) => openRecordFiles(out, `requests-${nameOf(url)}`))
  const stopShowing = showProgress(() => progressText(counts, all))
  const startMs = performance.now()

  const captureFrom = async (url: string, files: RecordFiles): Promise<void> => {
    const onOpen = (): void => notify(`${url}: recording`)
    for await (const { line, record } of readFeed({ url, apiKey, send, content, signal, onOpen })) {
      if (counts.requests >= limit) return
      counts.requests++
      counts.contents.add(record.content)
      await files.add(line)
      if (counts.requests >= limit) enough.abort()
    }
    if (!signal.aborted) notify(`${url}: the router has ended its records`)
  }

  try {
    if (limit > 0) await Promise.all(urls.map((url, i) => captureFrom(url, all[i] ?? openRecordFiles(out, 'requests'))))
  } finally {
    clearTimeout(timer)
    enough.abort() // where one router failed, the others are let go
    stopShowing()
    await Promise.all(all.map((files) => files.close()))
  }
  report(counts, all, { content, seconds: (performance.now() - startMs) / MS_PER_SECOND, isJson: flags.json === true })
  return interruption.exitCode(0) ?? 0
}

/** What a URL gives a file's name. */
const nameOf = (url: string): string => url.replace(/^https?:\/\//, '').replaceAll(/[^\w.]+/g, '-')

const progressText = ({ requests }: Counts, all: readonly RecordFiles[]): string =>
  `captured ${counted(requests, 'request')}, ${(all.reduce((sum, { numBytes }) => sum + numBytes, 0) / MEGABYTE).toFixed(1)} MB`

function showProgress(text: () => string): () => void {
  if (!process.stderr.isTTY) return () => undefined
  const draw = (): void => void process.stderr.write(`\r\u001b[K${text()}`)
  const timer = setInterval(draw, PROGRESS_MS)
  draw()
  return () => {
    clearInterval(timer)
    process.stderr.write('\r\u001b[K')
  }
}

interface ReportOptions {
  readonly content: RecordContent
  readonly seconds: number
  readonly isJson: boolean
}

function report(
  { requests, contents }: Counts,
  all: readonly RecordFiles[],
  { content, ...rest }: ReportOptions,
): void {
  const files = all.flatMap((each) => each.files)
  const isLess = [...contents].some((found) => CONTENTS.indexOf(found) < CONTENTS.indexOf(content))
  if (isLess)
    notify(
      `the routers give less than ${content}: ${[...contents].join(', ')}; start them with --trace-content ${content}`,
    )
  if (rest.isJson) printJson({ requests, files, contents: [...contents], seconds: rest.seconds })
  else print(`${counted(requests, 'request')}${files.length > 0 ? ` in ${files.join(', ')}` : ''}`)
}
