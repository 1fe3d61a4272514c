// The HTTP door: routing, authentication, bodies and their bounds. What a route answers is in `routes.ts`.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from '../../../lib/config/service.js'
import { ClusterError } from '../../../lib/errors.js'
import { createApiKeys, type ApiKeys } from '../api-keys.js'
import type { InferenceEngine } from '../engine.js'
import { retryAfterMs } from '../grpc/rich-errors.js'
import { errorBody, httpStatus } from './http-errors.js'
import type { Exchange } from './exchange.js'
import { readJsonBody } from './read-body.js'
import { findRoute } from './routes.js'

export interface HttpLimits {
  readonly maxBodyBytes: number
  readonly headersTimeoutMs: number
  readonly bodyTimeoutMs: number // for the whole request, headers included
}

const DEFAULT_LIMITS: HttpLimits = {
  maxBodyBytes: 16 * 1024 * 1024,
  headersTimeoutMs: 20_000,
  bodyTimeoutMs: 60_000,
}

export interface HttpServerOptions {
  readonly engine: InferenceEngine
  readonly host: string
  readonly port: number // 0 takes a free one
  readonly apiKeys: readonly string[]
  readonly logger: Logger
  readonly limits?: Partial<HttpLimits>
}

export interface HttpServer {
  readonly url: string
  /** Lets running responses end within the grace, then cuts them. */
  stop(graceMs: number): Promise<void>
}

/** Opens the port. Throws `unavailable` where it is taken. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const keys = createApiKeys(options.apiKeys)
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const { headersTimeoutMs: headersTimeout, bodyTimeoutMs: requestTimeout } = limits
  // How often Node looks for late requests: a bound on how much later than the timeout one is cut.
  const connectionsCheckingInterval = Math.min(headersTimeout, requestTimeout)
  const server = createServer({ headersTimeout, requestTimeout, connectionsCheckingInterval }, (request, response) => {
    const door = { engine: options.engine, keys, maxBodyBytes: limits.maxBodyBytes }
    void handle(request, response, door).catch((error: unknown) => sendError(response, error, options.logger))
  })
  server.on('request', (_, response) => {
    // A connection that is kept alive would hold a stopping door open after its last response.
    response.once('close', () => {
      if (!server.listening) server.closeIdleConnections()
    })
  })
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

interface Door {
  readonly engine: InferenceEngine
  readonly keys: ApiKeys
  readonly maxBodyBytes: number
}

async function handle(request: IncomingMessage, response: ServerResponse, door: Door): Promise<void> {
  const url = parseTarget(request.url ?? '/')
  const { route, params } = findRoute(request.method ?? 'GET', url.pathname)
  const { authorization, 'x-api-key': apiKey, 'x-request-id': idHeader } = request.headers
  const tenant = route.isOpen ? '' : door.keys.check(authorization ?? bearer(apiKey))
  const abort = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) abort.abort(new ClusterError('cancelled', 'the client left'))
  })
  const requestId = readRequestId(idHeader)
  if (requestId !== undefined) response.setHeader('x-request-id', requestId)
  const body = (): Promise<unknown> => readJsonBody(request, door.maxBodyBytes)
  const exchange: Exchange = {
    engine: door.engine,
    request,
    response,
    url,
    params,
    tenant,
    requestId,
    signal: abort.signal,
    body,
  }
  await route.answer(exchange)
}

function parseTarget(target: string): URL {
  const url = target.startsWith('/') ? `http://localhost${target}` : target
  if (URL.canParse(url)) return new URL(url)
  throw new ClusterError('invalid_argument', `request target: want a path, got ${target}`)
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
  if (failure.code === 'unauthenticated') response.setHeader('www-authenticate', 'Bearer')
  response.writeHead(httpStatus(failure), { 'content-type': 'application/json' })
  response.end(JSON.stringify(errorBody(failure)))
}
