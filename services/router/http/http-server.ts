// The HTTP door: routing, authentication, bodies and their bounds. What a route answers is in `routes.ts`.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as HttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { hostForUrl } from '../../../lib/config/host-for-url.js'
import type { Logger } from '../../../lib/config/service.js'
import { ClusterError } from '../../../lib/errors.js'
import { createApiKeys, type ApiKeys } from '../api-keys.js'
import type { DoorOptions } from '../door-options.js'
import type { InferenceEngine } from '../engine.js'
import { retryAfterMs } from '../grpc/rich-errors.js'
import { errorBody, httpStatus } from './http-errors.js'
import type { Exchange } from './exchange.js'
import { sessionName } from '../session-name.js'
import { callerOf, createRateLimits, type RateLimits } from '../rate-limits.js'
import type { TlsContext } from '../tls-source.js'
import { readJsonBody } from './read-body.js'
import { findRoute } from './routes.js'

export interface HttpLimits {
  readonly maxBodyBytes: number
  readonly headersTimeoutMs: number
  readonly bodyTimeoutMs: number // for the whole request, headers included
  readonly maxHeaderBytes: number
  readonly maxConnections: number // further ones are closed at once
}

const DEFAULT_LIMITS: HttpLimits = {
  maxBodyBytes: 16 * 1024 * 1024,
  headersTimeoutMs: 20_000,
  bodyTimeoutMs: 60_000,
  maxHeaderBytes: 16 * 1024,
  maxConnections: 4096,
}

export interface HttpServerOptions extends DoorOptions {
  readonly limits?: Partial<HttpLimits>
}

export interface HttpServer {
  readonly url: string
  /** Answers what comes, and ends every connection with the answer under way: a client's next one may lead elsewhere. */
  drain(): void
  /** Lets running responses end within the grace, then cuts them. */
  stop(graceMs: number): Promise<void>
}

/** Opens the port. Throws `unavailable` where it is taken. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { engine, logger, tls } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const keys = createApiKeys(options.apiKeys)
  const rates = options.rates ?? createRateLimits({ common: {}, own: keys.limitsOf, now: () => performance.now() })
  const door: Door = { engine, keys, rates, maxBodyBytes: limits.maxBodyBytes }
  let isDraining = false
  const server = openServer(limits, tls?.context, (request, response) => {
    void handle(request, response, door).catch((error: unknown) => sendError(response, error, logger))
  })
  server.maxConnections = limits.maxConnections
  const stopWatching = tls?.onChange((context) => 'setSecureContext' in server && server.setSecureContext(context))
  server.prependListener('request', (_, response) => {
    if (isDraining) response.shouldKeepAlive = false
    // A connection that is kept alive would hold a stopping door open after its last response.
    response.once('close', () => {
      if (isDraining || !server.listening) server.closeIdleConnections()
    })
  })
  const port = await listen(server, options)
  server.on('error', () => undefined) // one connection could not be taken: its client is told by its own end
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${hostForUrl(options.host)}:${port}`,
    drain: () => {
      isDraining = true
      server.closeIdleConnections()
    },
    stop: (graceMs) => {
      stopWatching?.()
      return stop(server, graceMs)
    },
  }
}

function openServer(
  limits: HttpLimits,
  tls: TlsContext | undefined,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
): HttpsServer | Server {
  const { headersTimeoutMs: headersTimeout, bodyTimeoutMs: requestTimeout, maxHeaderBytes: maxHeaderSize } = limits
  // How often Node looks for late requests: a bound on how much later than the timeout one is cut.
  const connectionsCheckingInterval = Math.min(headersTimeout, requestTimeout)
  const options = { headersTimeout, requestTimeout, connectionsCheckingInterval, maxHeaderSize }
  if (tls === undefined) return createServer(options, onRequest)
  const asksClient = tls.ca !== undefined
  const handshake = { handshakeTimeout: headersTimeout, requestCert: asksClient, rejectUnauthorized: asksClient }
  return createTlsServer({ ...options, ...handshake, ...tls }, onRequest)
}

function listen(server: Server | HttpsServer, { host, port }: HttpServerOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new ClusterError('unavailable', `HTTP port ${port} on ${host}: ${error.message}`, { cause: error })),
    )
    // A TCP server's address is an AddressInfo once it listens.
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

function stop(server: Server | HttpsServer, graceMs: number): Promise<void> {
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
  readonly rates: RateLimits
  readonly maxBodyBytes: number
}

async function handle(request: IncomingMessage, response: ServerResponse, door: Door): Promise<void> {
  const url = parseTarget(request.url ?? '/')
  const { route, params } = findRoute(request.method ?? 'GET', url.pathname)
  const { authorization, 'x-api-key': apiKey, 'x-request-id': idHeader, 'x-session-id': session } = request.headers
  const { traceparent } = request.headers
  const requestId = readRequestId(idHeader)
  if (requestId !== undefined) response.setHeader('x-request-id', requestId)
  const tenant = route.isOpen ? '' : door.keys.check(authorization ?? bearer(apiKey))
  const caller = callerOf(tenant, request.socket.remoteAddress)
  if (request.method === 'POST') door.rates.takeRequest(caller)
  const abort = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) abort.abort(new ClusterError('cancelled', 'the client left'))
  })
  const body = (): Promise<unknown> => readJsonBody(request, door.maxBodyBytes)
  const exchange: Exchange = {
    engine: door.rates.metered(door.engine, caller),
    request,
    response,
    url,
    params,
    tenant,
    requestId,
    session: sessionName(single(session)),
    traceparent: single(traceparent),
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

const single = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : undefined

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
  response.setHeader('x-should-retry', String(failure.isRetryable)) // official clients would try every 5xx again
  if (failure.isRetryable) {
    response.setHeader('retry-after-ms', String(retryAfterMs(failure)))
    response.setHeader('retry-after', String(Math.max(1, Math.ceil(retryAfterMs(failure) / 1000))))
  }
  if (failure.details.allow !== undefined) response.setHeader('allow', failure.details.allow)
  if (failure.code === 'unauthenticated') response.setHeader('www-authenticate', 'Bearer')
  response.writeHead(httpStatus(failure), { 'content-type': 'application/json' })
  response.end(JSON.stringify(errorBody(failure)))
}
