// Where a process takes direct links of others.
//
// Invariants
//   D1  A connection that does not open with the key, soon and in few bytes, is closed; nothing else of it is looked at.

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { ClusterError } from '../errors.js'
import {
  createLink,
  hello,
  MAX_HELLO_BYTES,
  MAX_LINK_BYTES,
  type Link,
  type LinkDoor,
  type LinkEvents,
} from './link.js'
import type { LinkMessage } from './link-stream.js'

const HELLO_TIMEOUT_MS = 2_000
const MAX_LINKS = 1_024
const UNSPECIFIED = /^(0\.0\.0\.0|::|)$/

export interface LinkServer {
  readonly door: LinkDoor
  /** Resolves when what was sent has left, within a bound. */
  close(): Promise<void>
}

export interface LinkPlace {
  readonly host: string // an address of this machine
  readonly port: number // 0 takes a free one
}

/** Listens there. Throws `invalid_argument`, or `unavailable` where it cannot. */
export async function startLinkServer({ host, port: wanted }: LinkPlace, events: LinkEvents): Promise<LinkServer> {
  if (UNSPECIFIED.test(host)) {
    throw new ClusterError('invalid_argument', `link host: want an address that others can reach, got '${host}'`)
  }
  const key = randomBytes(24).toString('hex')
  const links = new Set<Link>()
  const server = createServer((socket) => {
    const link = greet(socket, key, events)
    links.add(link)
    socket.on('close', () => links.delete(link))
  })
  server.maxConnections = MAX_LINKS
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new ClusterError('unavailable', `link host ${host}, port ${wanted}: ${cause.message}`, { cause })),
    )
    server.listen({ host, port: wanted }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
  server.on('error', () => undefined) // one connection could not be taken: its other side has the bus
  return {
    door: { machine: hostname(), host, port, key },
    close: async () => {
      server.close()
      await Promise.all([...links].map((link) => link.close()))
    },
  }
}

/** Waits for the key, then lets the link work. */
function greet(socket: Socket, key: string, events: LinkEvents): Link {
  const limits = { maxBytes: MAX_HELLO_BYTES }
  let isKnown = false
  const timer = setTimeout(() => socket.destroy(), HELLO_TIMEOUT_MS)
  const { link, accept } = createLink(socket, limits, {
    onMessage: (message) => {
      if (isKnown) events.onMessage(message, link)
      else if (isKey(message, key)) {
        isKnown = true
        limits.maxBytes = MAX_LINK_BYTES
        clearTimeout(timer)
        link.send(hello('')) // taken
      } else socket.destroy()
    },
    onClose: () => {
      clearTimeout(timer)
      if (isKnown) events.onClose(link)
    },
  })
  socket.on('data', accept)
  return link
}

function isKey({ kind, payload }: LinkMessage, key: string): boolean {
  const wanted = Buffer.from(key, 'latin1')
  return kind === 'hello' && payload.byteLength === wanted.byteLength && timingSafeEqual(payload, wanted)
}
