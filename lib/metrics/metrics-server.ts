// The small HTTP server of a service for whoever looks after it: `/metrics`, `/health`, `/ready`. Reads only, no keys:
// it is for inside the cluster, on loopback unless told otherwise.
//
// Invariants
//   MS1  Whoever connects takes no more than a few sockets, and no longer than seconds.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { hostForUrl } from '../config/host-for-url.js'
import { ClusterError } from '../errors.js'

const MAX_CONNECTIONS = 16
const TIMEOUT_MS = 5_000
const KEEP_ALIVE_MS = 20_000 // scrapers come every 15 s
const IDLE_MS = 30_000
const MAX_HEADER_BYTES = 8 * 1024

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** What there is to read, by path. */
export type Pages = Readonly<Record<string, () => Answer | Promise<Answer>>>

export interface MetricsServer {
  readonly url: string // as others reach it
  stop(): Promise<void>
}

export interface MetricsAddress {
  readonly host: string
  readonly port: number // 0 takes a free one
}

export const json = (value: unknown, status = 200): Answer => ({
  status,
  type: 'application/json',
  body: JSON.stringify(value),
})

/** Opens the port. Throws `unavailable` where it is taken. */
export async function startMetricsServer({ host, port }: MetricsAddress, pages: Pages): Promise<MetricsServer> {
  const server = createServer(
    {
      headersTimeout: TIMEOUT_MS,
      requestTimeout: TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => void respond(request, response, pages),
  )
  server.maxConnections = MAX_CONNECTIONS
  server.setTimeout(IDLE_MS) // also of a client that does not read its answer
  const taken = await new Promise<number>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new ClusterError('unavailable', `metrics port ${port} on ${host}: ${error.message}`, { cause: error })),
    )
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port)) // of a TCP server that listens
  })
  server.on('error', () => undefined) // one connection could not be taken: who scrapes comes again
  return {
    url: reachable(`http://${hostForUrl(host)}:${taken}`),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** A URL that others can use: an address that stands for all of this machine's is replaced by its name. */
export const reachable = (url: string): string => url.replace(/\/\/(0\.0\.0\.0|\[::\])(?=:)/, `//${hostname()}`)

async function respond(request: IncomingMessage, response: ServerResponse, pages: Pages): Promise<void> {
  const { status, type, body } = await answer(request, pages)
  if (status === 405) response.setHeader('allow', 'GET, HEAD')
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  response.end(request.method === 'HEAD' ? undefined : body)
}

async function answer({ method, url = '/' }: IncomingMessage, pages: Pages): Promise<Answer> {
  const [path = '/'] = url.split('?')
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined
  if (page === undefined) return json({ error: `want ${Object.keys(pages).join(', ')}, got ${path}` }, 404)
  if (method !== 'GET' && method !== 'HEAD') return json({ error: `want GET, got ${method ?? ''}` }, 405)
  try {
    return await page()
  } catch (error) {
    return json({ error: ClusterError.from(error).message }, 500)
  }
}
