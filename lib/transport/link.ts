// One direct connection to another process, from either end.

import { connect, type Socket } from 'node:net'
import { ClusterError } from '../errors.js'
import { createLinkReader, writeMessage, type LinkMessage } from './link-stream.js'

/** Where a process takes links, and what opens one; it travels over the bus, which knows who may ask. */
export interface LinkDoor {
  readonly machine: string // a loopback address means something on this machine only
  readonly host: string
  readonly port: number
  readonly key: string
}

export interface Link {
  readonly isOpen: boolean
  /** Whether all bytes have left already: those of the payload are free again. Throws `resource_exhausted` where too much waits. */
  send(message: LinkMessage): boolean
  /** Resolves when what was sent has left, within a bound. */
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 1_000
const CLOSE_TIMEOUT_MS = 2_000
const KEEP_ALIVE_MS = 10_000
const READ_BYTES = 2 ** 18
const MAX_WAITING_BYTES = 256 * 2 ** 20
export const MAX_HELLO_BYTES = 512
/** A message's header, and what a bus calls its largest payload. */
export const MAX_LINK_BYTES = 512 * 2 ** 20

export interface LinkEvents {
  readonly onMessage: (message: LinkMessage, link: Link) => void
  readonly onClose: (link: Link) => void
}

export interface RunningLink {
  readonly link: Link
  /** Takes what the socket reads. */
  readonly accept: (chunk: Buffer) => void
}

/** Runs a link over a socket; `maxBytes` of `limits` may grow when the other side has shown who it is. */
export function createLink(
  socket: Socket,
  limits: { maxBytes: number },
  { onMessage, onClose }: LinkEvents,
): RunningLink {
  const link: Link = {
    get isOpen() {
      return !socket.destroyed && socket.writable
    },
    send: (message) => {
      if (socket.writableLength > MAX_WAITING_BYTES) {
        throw new ClusterError('resource_exhausted', `link: more than ${MAX_WAITING_BYTES} bytes wait to be sent`)
      }
      writeMessage(socket, message)
      return socket.writableLength === 0
    },
    close: () => closeSocket(socket),
  }
  const read = createLinkReader(limits, (message) => onMessage(message, link))
  const accept = (chunk: Buffer): void => {
    try {
      read(chunk)
    } catch {
      socket.destroy() // who sends broken bytes is not talked to; what was asked is asked another way
    }
  }
  socket.setNoDelay(true)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
  socket.on('error', () => undefined) // 'close' follows
  socket.on('close', () => onClose(link))
  return { link, accept }
}

function closeSocket(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT_MS)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    socket.destroySoon()
  })
}

/** Opens a link: it stands when the other side has taken the key. Throws `unavailable`. */
export function openLink({ host, port, key }: LinkDoor, events: LinkEvents): Promise<Link> {
  return new Promise((resolve, reject) => {
    let accept: RunningLink['accept'] = () => undefined
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BYTES), // one for all: a fresh one for every read keeps the collector busy
      callback: (numBytes: number, bytes: Uint8Array): boolean => {
        accept(Buffer.from(bytes.buffer, bytes.byteOffset, numBytes))
        return true
      },
    }
    const socket = connect({ host, port, onread })
    const timer = setTimeout(() => socket.destroy(), CONNECT_TIMEOUT_MS)
    const running = createLink(
      socket,
      { maxBytes: MAX_LINK_BYTES },
      {
        onMessage: (message, link) => {
          if (message.kind !== 'hello') return events.onMessage(message, link)
          clearTimeout(timer)
          resolve(link)
        },
        onClose: (link) => {
          clearTimeout(timer)
          reject(new ClusterError('unavailable', `link to ${host}:${port}: not taken within ${CONNECT_TIMEOUT_MS} ms`))
          events.onClose(link)
        },
      },
    )
    accept = running.accept
    socket.once('connect', () => void running.link.send(hello(key)))
  })
}

export const hello = (key: string): LinkMessage => ({
  kind: 'hello',
  subject: '',
  reply: '',
  payload: Buffer.from(key, 'latin1'),
})
