// `GET /cluster/records`: the caller's requests as they end, one JSON line each, until it leaves.

import { once } from 'node:events'
import { ClusterError } from '../../../lib/errors.js'
import type { Exchange } from './exchange.js'
import { refuse } from './schemas.js'

const LEVELS = ['text', 'ids', 'hash'] as const

/** `?content=` may ask for less than the server was started to give. */
export async function answerRecords({ engine, response, signal, tenant, url }: Exchange): Promise<void> {
  const asked = url.searchParams.get('content') ?? 'text'
  const content = LEVELS.find((level) => level === asked)
  if (content === undefined) throw refuse('content', `want ids, text or hash, got ${asked}`)
  const onLost = (error: ClusterError): void => void response.destroy(error) // it may never drain
  const records = engine.records({ tenant, content, signal, onLost })
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-cache' })
  response.flushHeaders()
  try {
    for await (const record of records) {
      if (!response.write(`${JSON.stringify(record)}\n`)) await once(response, 'drain', { signal })
    }
    response.end()
  } catch (error) {
    if (!signal.aborted) response.destroy(ClusterError.from(error)) // a clean end would say that all was told
  }
}
