// A TCP proxy that treats one process's connections badly: what a broken network between it and a server looks like.
//
// Invariants
//   X1  While nothing is wrong every byte arrives, in order, unchanged; so it does after a delay or at a bounded rate.
//   X2  A fault applies from the moment it is set, to connections that stand and to new ones; `heal` ends it.
//   X3  Bytes that a fault swallowed are never delivered later: a connection that lost some is cut when it heals, as a
//       network's own time-out would do.

import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'

export type NetworkFault =
  | { readonly kind: 'blackhole' } // connections stand, nothing passes either way
  | { readonly kind: 'half-open'; readonly lost: 'up' | 'down' } // one way passes
  | { readonly kind: 'cut' } // connections end, new ones are refused
  | { readonly kind: 'duplicate' } // the process loses its connection, the server keeps it; new ones are good
  | { readonly kind: 'delay'; readonly ms: number; readonly jitterMs: number }
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  | { readonly kind: 'unread' } // what the server sends is not read: it piles up there

export interface TcpProxy {
  readonly port: number
  readonly numConnections: number // that the process holds
  inject(fault: NetworkFault): void
  heal(): void
  close(): Promise<void>
}

export interface TcpProxyOptions {
  readonly target: { readonly host: string; readonly port: number }
  readonly random: () => number
}

interface Pair {
  readonly client: Socket // from the process
  readonly server: Socket // to the server
  hasLost: boolean
}

type Direction = 'up' | 'down' // to the server, to the process

export async function startTcpProxy({ target, random }: TcpProxyOptions): Promise<TcpProxy> {
  let fault: NetworkFault | undefined
  const pairs = new Set<Pair>()
  const abandoned = new Set<Socket>() // the server's side of connections that the process has lost

  const isLost = (direction: Direction): boolean =>
    fault?.kind === 'blackhole' || (fault?.kind === 'half-open' && fault.lost === direction)

  const cut = (pair: Pair): void => {
    pairs.delete(pair)
    pair.client.destroy()
    pair.server.destroy()
  }

  const abandon = (pair: Pair): void => {
    pairs.delete(pair)
    abandoned.add(pair.server)
    pair.client.destroy()
    pair.server.on('close', () => abandoned.delete(pair.server))
  }

  const waitMs = (bytes: number): number => {
    if (fault?.kind === 'delay') return fault.ms + (random() * 2 - 1) * fault.jitterMs
    return fault?.kind === 'slow' ? (bytes / fault.bytesPerSecond) * 1000 : 0
  }

  const forward = (pair: Pair, direction: Direction): void => {
    const [from, to] = direction === 'up' ? [pair.client, pair.server] : [pair.server, pair.client]
    const pipe = createPipe(to, waitMs, () => fault?.kind === 'slow')
    from.on('data', (data) => {
      if (!pairs.has(pair)) return
      if (isLost(direction)) pair.hasLost = true
      else pipe(data)
    })
    from.on('error', () => undefined) // `close` follows
    from.on('close', () => pairs.has(pair) && cut(pair))
  }

  const server: Server = createServer({ noDelay: true }, (client) => {
    if (fault?.kind === 'cut') return void client.destroy()
    const pair: Pair = { client, server: connect({ ...target, noDelay: true }), hasLost: false }
    pairs.add(pair)
    forward(pair, 'up')
    forward(pair, 'down')
    if (fault?.kind === 'unread') pair.server.pause()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as AddressInfo).port, // a TCP server's address is one
    get numConnections() {
      return pairs.size
    },
    inject: (next) => {
      fault = next
      if (next.kind === 'cut') pairs.forEach(cut)
      if (next.kind === 'duplicate') pairs.forEach(abandon)
      if (next.kind === 'unread') for (const pair of pairs) pair.server.pause()
    },
    heal: () => {
      fault = undefined
      for (const pair of pairs) {
        if (pair.hasLost) cut(pair)
        else pair.server.resume()
      }
      for (const socket of abandoned) socket.destroy()
    },
    close: async () => {
      pairs.forEach(cut)
      for (const socket of abandoned) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Writes pieces in order, each when its time has come: a delay runs beside others, a rate one after the other. */
function createPipe(to: Socket, waitMs: (bytes: number) => number, isRate: () => boolean) {
  const queue: { readonly data: Buffer; readonly dueMs: number }[] = []
  let freeMs = 0 // when what was taken before has been passed on
  const flush = (): void => {
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      const leftMs = next.dueMs - performance.now()
      if (leftMs > 0) return void setTimeout(flush, leftMs)
      queue.shift()
      if (!to.destroyed) to.write(next.data)
    }
  }
  return (data: Buffer): void => {
    const nowMs = performance.now()
    const wait = Math.max(0, waitMs(data.length))
    freeMs = isRate() ? Math.max(nowMs, freeMs) + wait : Math.max(freeMs, nowMs + wait)
    queue.push({ data, dueMs: freeMs })
    if (queue.length === 1) flush() // else a timer runs for the first
  }
}
