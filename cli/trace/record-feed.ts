// The requests of a router as they end: `GET /cluster/records`, one JSON line each.

import { ClusterError } from '../../lib/errors.js'
import { requestRecordSchema, type RecordContent, type RequestRecord } from '../../lib/traffic/request-record.js'
import { bodyPieces } from '../body-pieces.js'
import type { Fetch } from '../client-tls.js'
import { httpError } from '../http-error.js'

const CONNECT_MS = 10_000
const MAX_LINE_CHARS = 64 * 1024 * 1024

export interface FeedSource {
  readonly url: string // of a router
  readonly apiKey: string | undefined
  readonly send: Fetch
  readonly content: RecordContent
  readonly signal: AbortSignal
  readonly onOpen?: () => void // from now on no request is missed
}

export interface FedRecord {
  readonly line: string // as it came
  readonly record: RequestRecord
}

/** Ends when the router closes its feed or the signal aborts; a feed that breaks off throws `unavailable`. */
export async function* readFeed({ onOpen, ...source }: FeedSource): AsyncGenerator<FedRecord> {
  const { url, signal } = source
  const response = await connect(source)
  if (response === undefined) return
  onOpen?.()
  let rest = ''
  try {
    for await (const text of bodyPieces(response.body?.pipeThrough(new TextDecoderStream()) ?? null, signal)) {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > MAX_LINE_CHARS)
        throw new ClusterError('failed_precondition', `${url}: want records of at most ${MAX_LINE_CHARS} characters`)
      for (const line of lines) if (line !== '') yield { line, record: parseRecord(line, url) }
    }
  } catch (error) {
    if (signal.aborted) return
    if (error instanceof ClusterError) throw error
    throw new ClusterError('unavailable', `${url}: the records broke off`, { cause: error })
  }
}

/** Undefined when it was asked to end meanwhile. */
async function connect({ url, apiKey, send, content, signal }: FeedSource): Promise<Response | undefined> {
  const headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
  const slow = new AbortController()
  const timer = setTimeout(() => slow.abort(), CONNECT_MS)
  try {
    const response = await send(`${url}/cluster/records?content=${content}`, {
      headers,
      signal: AbortSignal.any([signal, slow.signal]),
    })
    if (!response.ok) throw await httpError(response)
    return response
  } catch (error) {
    if (signal.aborted) return undefined
    if (error instanceof ClusterError) throw error
    throw new ClusterError('unavailable', `${url}: want a Banyan router there, found no answer`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

function parseRecord(line: string, url: string): RequestRecord {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    value = undefined // said below
  }
  const parsed = requestRecordSchema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new ClusterError(
    'failed_precondition',
    `${url}/cluster/records: want records of requests, found something else`,
  )
}
