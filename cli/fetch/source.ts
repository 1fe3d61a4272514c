// Where a model's files come from: a folder behind https, http or file URLs. `unavailable` is what may be tried again.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ClusterError } from '../../lib/errors.js'
import { usageError } from '../report-error.js'

export interface Content {
  readonly offset: number // of the first byte in the file: the asked for one, or 0
  readonly totalBytes: number | undefined // of the whole file, where the source tells
  readonly bytes: AsyncIterable<Uint8Array>
}

/** Opens a file of the source at an offset, or from its beginning where the source cannot do that. */
export type Open = (path: string, offset: number, signal: AbortSignal) => Promise<Content>

export interface Source {
  readonly url: URL
  readonly open: Open
}

const SCHEMES = ['https:', 'http:', 'file:']

/** A source by the URL of its folder. `token` goes along as a bearer token, over https alone. */
export function sourceOf(text: string, token: string | undefined): Source {
  if (!URL.canParse(text)) throw usageError(`fetch: want a URL, found ${JSON.stringify(text)}`)
  const url = new URL(text)
  if (!SCHEMES.includes(url.protocol)) throw usageError(`fetch: want an https, http or file URL, found ${url.protocol}`)
  if (url.username !== '' || url.password !== '')
    throw usageError('fetch: want a URL without a login, which a command line shows; set BANYAN_FETCH_TOKEN')
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  if (url.protocol === 'file:') return { url, open: openFile(url) }
  return { url, open: openHttp(url, url.protocol === 'https:' ? token : undefined) }
}

/** What a query string holds may be a signature: it is shown to nobody. */
export const shown = (url: URL): string => `${url.protocol}//${url.host}${url.pathname}`

function fileUrl(base: URL, path: string): URL {
  const url = new URL(path.split('/').map(encodeURIComponent).join('/'), base)
  url.search = base.search
  return url
}

function openFile(base: URL): Open {
  return async (path, offset, signal) => {
    const file = fileURLToPath(fileUrl(base, path))
    const { size } = await stat(file).catch((error: unknown) => {
      throw new ClusterError('not_found', `${file}: want a file that can be read: ${messageOf(error)}`, {
        cause: error,
      })
    })
    const start = Math.min(offset, size)
    return { offset: start, totalBytes: size, bytes: createReadStream(file, { start, signal }) }
  }
}

function openHttp(base: URL, token: string | undefined): Open {
  return async (path, offset, signal) => {
    const url = fileUrl(base, path)
    const headers = {
      'accept-encoding': 'identity', // ranges count the bytes of the file itself
      ...(offset > 0 && { range: `bytes=${offset}-` }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    }
    const response = await fetch(url, { headers, signal }).catch((error: unknown) => {
      throw unreachable(url, error)
    })
    if (base.protocol === 'https:' && new URL(response.url).protocol !== 'https:')
      throw new ClusterError(
        'failed_precondition',
        `${shown(url)}: want https all the way, found a redirect away from it`,
      )
    if (response.status === 416) return noMore(response, offset)
    if (response.status !== 200 && response.status !== 206) throw refusal(url, response.status)
    return { ...rangeOf(response, url), bytes: bytesOf(response, url, signal) }
  }
}

/** The file ends where we would go on, or before that: its hash will tell which. */
function noMore(response: Response, offset: number): Content {
  const [, total] = /^bytes \*\/(\d+)$/.exec(response.headers.get('content-range') ?? '') ?? []
  const totalBytes = total === undefined ? undefined : Number(total)
  const bytes = (async function* (): AsyncGenerator<Uint8Array> {
    await response.body?.cancel()
    yield* []
  })()
  return { offset: Math.min(offset, totalBytes ?? offset), totalBytes, bytes }
}

function rangeOf({ status, headers }: Response, url: URL): Pick<Content, 'offset' | 'totalBytes'> {
  const encoding = headers.get('content-encoding') ?? 'identity'
  if (encoding !== 'identity')
    throw new ClusterError(
      'failed_precondition',
      `${shown(url)}: want the file as it is, found content-encoding ${encoding}`,
    )
  const length = headers.get('content-length')
  if (status === 200) return { offset: 0, totalBytes: length === null ? undefined : Number(length) }
  const range = headers.get('content-range') ?? 'no content-range'
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range) ?? []
  if (first === undefined)
    throw new ClusterError('failed_precondition', `${shown(url)}: want the range that a 206 holds, found ${range}`)
  return { offset: Number(first), totalBytes: total === '*' ? undefined : Number(total) }
}

/**
 * Reads by hand: a body that is iterated while its request is aborted may never settle in Node 20. Cancelled here, a
 * pending read does.
 */
async function* bytesOf({ body }: Response, url: URL, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (body === null) return
  const reader: ReadableStreamDefaultReader<Uint8Array> = body.getReader()
  const cancel = (): void => void reader.cancel(signal.reason).catch(() => undefined) // nobody wants the rest
  signal.addEventListener('abort', cancel, { once: true })
  try {
    for (;;) {
      signal.throwIfAborted()
      const { done, value } = await reader.read()
      signal.throwIfAborted()
      if (done) return
      yield value
    }
  } catch (error) {
    signal.throwIfAborted()
    throw unreachable(url, error)
  } finally {
    signal.removeEventListener('abort', cancel)
    cancel()
  }
}

function refusal(url: URL, status: number): ClusterError {
  const message = `${shown(url)}: want 200, found ${status}`
  if (status === 404 || status === 410) return new ClusterError('not_found', message)
  if (status === 401)
    return new ClusterError('unauthenticated', message, { details: { hint: 'set BANYAN_FETCH_TOKEN' } })
  if (status === 403) return new ClusterError('permission_denied', message)
  const isTransient = status === 408 || status === 429 || status >= 500
  return new ClusterError(isTransient ? 'unavailable' : 'failed_precondition', message)
}

function unreachable(url: URL, error: unknown): ClusterError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return new ClusterError('unavailable', `${shown(url)}: ${messageOf(cause)}`, { cause: error })
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException // undefined where it is none
  return error.message === '' ? (code ?? error.name) : error.message
}
