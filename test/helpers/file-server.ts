// A web server of a few files on loopback that does what the network does: breaks off, forgets ranges, refuses, stalls.

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { eventually } from './eventually.js'

/** What the server does with the next request of a path; without one left it serves. */
export type Trick =
  /** Breaks off when the client has what it was sent, or a part of it: what is on its way is lost with a connection. */
  | { readonly kind: 'break'; readonly afterBytes: number; readonly isTaken: (from: number) => boolean }
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'stall' }
  | { readonly kind: 'ignore-range' }

export interface Seen {
  readonly path: string
  readonly range: string | undefined
  readonly authorization: string | undefined
}

export interface FileServer {
  readonly url: string
  readonly seen: Seen[]
  readonly tricks: Map<string, Trick[]>
  readonly files: Map<string, Buffer>
  close(): Promise<void>
}

export async function startFileServer(): Promise<FileServer> {
  const files = new Map<string, Buffer>()
  const tricks = new Map<string, Trick[]>()
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://here').pathname.slice(1))
    seen.push({ path, range: request.headers.range, authorization: request.headers.authorization })
    serve({ request, response }, files.get(path), tricks.get(path)?.shift())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await once(server.close(), 'close')
  }
  const { port } = server.address() as AddressInfo // a TCP server's address is one
  return { url: `http://127.0.0.1:${port}`, seen, tricks, files, close }
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

function serve({ request, response }: Exchange, file: Buffer | undefined, trick: Trick | undefined): void {
  if (trick?.kind === 'stall') return
  if (trick?.kind === 'status') return void response.writeHead(trick.status).end()
  if (file === undefined) return void response.writeHead(404).end()
  const [, first] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
  const isWhole = first === undefined || trick?.kind === 'ignore-range'
  const from = isWhole ? 0 : Number(first)
  if (!isWhole && from >= file.length) {
    response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end()
    return
  }
  const range = { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` }
  response.writeHead(isWhole ? 200 : 206, { 'content-length': file.length - from, ...(!isWhole && range) })
  if (trick?.kind !== 'break') return void response.end(file.subarray(from))
  response.write(file.subarray(from, from + trick.afterBytes))
  void eventually(() => trick.isTaken(from) || response.destroyed, 'the client has a part of it').finally(() =>
    response.destroy(),
  )
}
