// Where a process takes direct links of others.
//
// Invariants
//   D1  A connection that does not open with the key, soon and in few bytes, is closed; nothing else of it is looked at.

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { createLink, MAX_HELLO_BYTES, MAX_LINK_BYTES, type LinkDoor, type LinkEvents } from './link.js'
import type { LinkMessage } from './link-stream.js'

const HELLO_TIMEOUT_MS = 2_000
const MAX_LINKS = 1_024

export interface LinkServer {
  readonly door: LinkDoor
  close(): void
}

/** Listens on a free port of an address of this machine. */
export async function startLinkServer(host: string, events: LinkEvents): Promise<LinkServer> {
  const key = randomBytes(24).toString('hex')
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    greet(socket, key, events)
  })
  server.maxConnections = MAX_LINKS
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port: 0 }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
  return {
    door: { machine: hostname(), host, port, key },
    close: () => {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Waits for the key, then lets the link work. */
function greet(socket: Socket, key: string, events: LinkEvents): void {
  const limits = { maxBytes: MAX_HELLO_BYTES }
  let isKnown = false
  const timer = setTimeout(() => socket.destroy(), HELLO_TIMEOUT_MS)
  const { accept } = createLink(socket, limits, {
    onMessage: (message, link) => {
      if (isKnown) events.onMessage(message, link)
      else if (isHello(message, key)) {
        isKnown = true
        limits.maxBytes = MAX_LINK_BYTES
        clearTimeout(timer)
      } else socket.destroy()
    },
    onClose: (link) => {
      clearTimeout(timer)
      if (isKnown) events.onClose(link)
    },
  })
  socket.on('data', accept)
}

function isHello({ kind, payload }: LinkMessage, key: string): boolean {
  const wanted = Buffer.from(key, 'latin1')
  return kind === 'hello' && payload.byteLength === wanted.byteLength && timingSafeEqual(payload, wanted)
}
