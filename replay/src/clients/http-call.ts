// One HTTP exchange over Node's own client: a body out, a status and a stream of bytes back. Every failure leaves as a
// `RequestFailure` that says where it happened.

import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { ReplayClock } from '../clock.js'
import { RequestFailure } from '../errors.js'

export interface TlsFiles {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

export interface HttpOptions {
  readonly clock: ReplayClock
  readonly apiKey?: string | undefined
  readonly tls?: TlsFiles | undefined
  readonly connectTimeoutMs: number
}

export interface HttpExchange {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

export interface HttpReply {
  readonly status: number
  readonly contentType: string
  readonly contentEncoding: string // '' or identity: bytes as they are
  readonly body: AsyncIterable<Uint8Array>
  /** What follows is of no interest: a whole answer leaves its connection for the next one, any other breaks it off. */
  leave(isWhole: boolean): void
}

export interface HttpCaller {
  send(exchange: HttpExchange): Promise<HttpReply>
  close(): void
}

export function createHttpCaller({ clock, apiKey, tls, connectTimeoutMs }: HttpOptions): HttpCaller {
  const plain = new HttpAgent({ keepAlive: true })
  const secure = new HttpsAgent({ keepAlive: true, ...tls })

  const attempt = ({ method, url, body, headers, signal }: HttpExchange): Promise<HttpReply> =>
    new Promise((resolve, reject) => {
      const isSecure = url.startsWith('https:')
      const request = (isSecure ? httpsRequest : httpRequest)(url, {
        method,
        signal,
        agent: isSecure ? secure : plain,
        headers: {
          'accept-encoding': 'identity',
          ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
          ...headers,
        },
      })
      const stopWatching = watchConnect(request, { clock, connectTimeoutMs, isSecure })
      request.on('error', (error) => {
        stopWatching()
        reject(beforeAnswer(error, url, request.reusedSocket))
      })
      request.on('response', (response) => {
        stopWatching()
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          contentEncoding: response.headers['content-encoding'] ?? '',
          body: bytesOf(response),
          leave: (isWhole) => void (isWhole ? response.resume() : response.destroy()),
        })
      })
      request.end(body)
    })

  return {
    // A connection that the endpoint closed while it was idle says nothing about this request: it is sent once more.
    send: async (exchange) => {
      try {
        return await attempt(exchange)
      } catch (error) {
        const isStale = error instanceof RequestFailure && error.cause instanceof StaleConnection
        if (!isStale || exchange.signal.aborted) throw error
        return attempt(exchange)
      }
    },
    close: () => {
      plain.destroy()
      secure.destroy()
    },
  }
}

/** Why a call may be sent once more. */
class StaleConnection extends Error {}

interface ConnectWatch {
  readonly clock: ReplayClock
  readonly connectTimeoutMs: number
  readonly isSecure: boolean
}

/** Destroys the request when its connection is not there in time; returns what ends the watch. */
function watchConnect(request: ClientRequest, { clock, connectTimeoutMs, isSecure }: ConnectWatch): () => void {
  const cancelTimer = clock.after(connectTimeoutMs, () => {
    request.destroy(new RequestFailure('connect_timeout', `want a connection within ${connectTimeoutMs} ms`))
  })
  request.on('socket', (socket) => {
    if (!socket.connecting) cancelTimer()
    else socket.once(isSecure ? 'secureConnect' : 'connect', cancelTimer)
  })
  return cancelTimer
}

function beforeAnswer(error: NodeJS.ErrnoException, url: string, isReused: boolean): RequestFailure {
  if (error instanceof RequestFailure) return error
  const cause = isReused && error.code === 'ECONNRESET' ? new StaleConnection() : error
  const message = `${url}: ${error.message}`
  if (error.code === 'ECONNREFUSED') return new RequestFailure('connect_refused', message, { cause })
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE')
    return new RequestFailure('connection_reset', message, { cause })
  if (error.code?.startsWith('HPE_') === true) return new RequestFailure('bad_http', message, { cause })
  return new RequestFailure('connect_failed', message, { cause })
}

async function* bytesOf(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    // Bytes: no encoding is set.
    for await (const piece of response.iterator({ destroyOnReturn: false })) yield piece as Uint8Array
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new RequestFailure('closed_mid_stream', `the connection ended inside the answer: ${message}`, {
      cause: error,
    })
  }
}

/** The beginning of a reply's body as text: enough for an error's words, never more than the bound. */
export async function readText(reply: HttpReply, maxBytes: number): Promise<string> {
  const pieces: Uint8Array[] = []
  let numBytes = 0
  for await (const piece of reply.body) {
    pieces.push(piece)
    numBytes += piece.length
    if (numBytes >= maxBytes) break
  }
  reply.leave(numBytes < maxBytes)
  return Buffer.concat(pieces).subarray(0, maxBytes).toString('utf8')
}
