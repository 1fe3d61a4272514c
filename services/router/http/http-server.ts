// The HTTP door: routing, authentication, bodies and their bounds. What a route answers is in `routes.ts`.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from '../../../lib/config/service.js'
import { ClusterError } from '../../../lib/errors.js'
import { createApiKeys } from '../api-keys.js'
import type { InferenceEngine } from '../engine.js'
import { retryAfterMs } from '../grpc/rich-errors.js'
import { errorBody, httpStatus } from './http-errors.js'
import type { Exchange } from './exchange.js'
import { findRoute } from './routes.js'

const MAX_BODY_BYTES = 16 * 1024 * 1024
const HEADERS_TIMEOUT_MS = 20_000
const BODY_TIMEOUT_MS = 60_000

export interface HttpServerOptions {
  readonly engine: InferenceEngine
  readonly host: string
  readonly port: number // 0 takes a free one
  readonly apiKeys: readonly string[]
  readonly logger: Logger
}

export interface HttpServer {
  readonly url: string
  /** Lets running responses end within the grace, then cuts them. */
  stop(graceMs: number): Promise<void>
}

/** Opens the port. Throws `unavailable` where it is taken. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const keys = createApiKeys(options.apiKeys)
  const server = createServer((request, response) => {
    void handle(request, response, options, keys).catch((error: unknown) => sendError(response, error, options.logger))
  })
  server.headersTimeout = HEADERS_TIMEOUT_MS
  server.requestTimeout = BODY_TIMEOUT_MS
  const port = await listen(server, options)
  return {
    url: `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`,
    stop: (graceMs) => stop(server, graceMs),
  }
}

function listen(server: Server, { host, port }: HttpServerOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new ClusterError('unavailable', `HTTP port ${port} on ${host}: ${error.message}`, { cause: error })),
    )
    // A TCP server's address is an AddressInfo once it listens.
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

function stop(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpServerOptions,
  keys: ReturnType<typeof createApiKeys>,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const { route, params } = findRoute(request.method ?? 'GET', url.pathname)
  const tenant = route.isOpen ? '' : keys.check(request.headers.authorization ?? bearer(request.headers['x-api-key']))
  const abort = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) abort.abort(new ClusterError('cancelled', 'the client left'))
  })
  const requestId = readRequestId(request.headers['x-request-id'])
  if (requestId !== undefined) response.setHeader('x-request-id', requestId)
  const exchange: Exchange = {
    engine: options.engine,
    request,
    response,
    url,
    params,
    tenant,
    requestId,
    signal: abort.signal,
    body: () => readJsonBody(request),
  }
  await route.answer(exchange)
}

const bearer = (key: string | string[] | undefined): string | undefined =>
  typeof key === 'string' ? `Bearer ${key}` : undefined

function readRequestId(header: string | string[] | undefined): string | undefined {
  if (header === undefined || header === '') return undefined
  if (typeof header === 'string' && /^[\x21-\x7e]{1,128}$/.test(header)) return header
  throw new ClusterError('invalid_argument', 'x-request-id: want 1 to 128 printable characters without spaces', {
    details: { field: 'x-request-id' },
  })
}

async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  let size = 0
  const tooLarge = (bytes: number): ClusterError =>
    new ClusterError('invalid_argument', `request body: want at most ${MAX_BODY_BYTES} bytes, got ${bytes}`, {
      details: { httpStatus: '413' },
    })
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > MAX_BODY_BYTES) throw tooLarge(declared)
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > MAX_BODY_BYTES) throw tooLarge(size)
    parts.push(part)
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'))
  } catch (error) {
    throw new ClusterError(
      'invalid_argument',
      `request body: not JSON: ${error instanceof Error ? error.message : ''}`,
      { cause: error },
    )
  }
}

function sendError(response: ServerResponse, error: unknown, logger: Logger): void {
  const failure = ClusterError.from(error)
  if (failure.code === 'internal') logger.error({ error: failure.message }, 'an HTTP request failed')
  if (response.destroyed) return
  if (response.headersSent) {
    response.end(`data: ${JSON.stringify(errorBody(failure))}\n\n`)
    return
  }
  if (failure.isRetryable) {
    response.setHeader('retry-after-ms', String(retryAfterMs(failure)))
    response.setHeader('retry-after', String(Math.max(1, Math.ceil(retryAfterMs(failure) / 1000))))
  }
  if (failure.details.allow !== undefined) response.setHeader('allow', failure.details.allow)
  // The rest of an oversized body is not read: the connection cannot be used again.
  if (failure.details.httpStatus === '413') response.setHeader('connection', 'close')
  response.writeHead(httpStatus(failure), { 'content-type': 'application/json' })
  response.end(JSON.stringify(errorBody(failure)))
}
