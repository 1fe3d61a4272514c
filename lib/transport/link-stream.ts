// The bytes of a direct link between two processes: messages one after the other, each with its length before it.
//
//   uint32 bytes that follow · uint8 kind · uint16 bytes of subject · uint16 bytes of reply · subject · reply · payload
//
// Numbers are little-endian, texts latin-1.
//
// Invariants
//   S1  What is longer than allowed is refused before room is made for it.

import type { Socket } from 'node:net'
import { ClusterError } from '../errors.js'

const KINDS = ['hello', 'message', 'nobody'] as const

export interface LinkMessage {
  /** `hello` opens a link with the key as payload; `nobody` tells an asker that nobody listens to its subject. */
  readonly kind: (typeof KINDS)[number]
  readonly subject: string
  readonly reply: string // '': no answer is wanted
  readonly payload: Uint8Array
  /** The payload's bytes are used again when the one who is called with it has returned. */
  readonly isShared?: boolean
}

const LENGTH_BYTES = 4
const HEADER_BYTES = 5 // after the length
const LARGEST_SHARED_BYTES = 2 ** 20 // larger ones are rare and have memory of their own

export function writeMessage(socket: Socket, { kind, subject, reply, payload }: LinkMessage): void {
  const numBytes = HEADER_BYTES + subject.length + reply.length
  const head = Buffer.allocUnsafe(LENGTH_BYTES + numBytes)
  head.writeUInt32LE(numBytes + payload.byteLength, 0)
  head.writeUInt8(KINDS.indexOf(kind), 4)
  head.writeUInt16LE(subject.length, 5)
  head.writeUInt16LE(reply.length, 7)
  head.write(subject, 9, 'latin1')
  head.write(reply, 9 + subject.length, 'latin1')
  socket.cork()
  socket.write(head)
  if (payload.byteLength > 0) socket.write(payload)
  socket.uncork()
}

/** Takes what a socket reads; calls back with every whole message. Throws `invalid_argument` on broken ones. */
export function createLinkReader(limits: { maxBytes: number }, onMessage: (message: LinkMessage) => void) {
  let shared = Buffer.allocUnsafeSlow(2 ** 16)
  let whole: Buffer | undefined // of the message that is being read
  let filled = 0
  const length = Buffer.alloc(LENGTH_BYTES)
  let lengthFilled = 0

  const roomFor = (numBytes: number): Buffer => {
    if (numBytes > LARGEST_SHARED_BYTES) return Buffer.allocUnsafeSlow(numBytes)
    if (numBytes > shared.length) shared = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(numBytes)))
    return shared.subarray(0, numBytes)
  }

  return (chunk: Buffer): void => {
    for (let at = 0; at < chunk.length;) {
      if (whole === undefined) {
        const taken = chunk.copy(length, lengthFilled, at)
        at += taken
        lengthFilled += taken
        if (lengthFilled < LENGTH_BYTES) return
        whole = roomFor(checkLength(length.readUInt32LE(0), limits.maxBytes))
        lengthFilled = filled = 0
      }
      const taken = chunk.copy(whole, filled, at)
      at += taken
      filled += taken
      if (filled < whole.length) return
      const message = whole
      whole = undefined
      onMessage(readMessage(message, message.buffer === shared.buffer))
    }
  }
}

function checkLength(numBytes: number, maxBytes: number): number {
  if (numBytes >= HEADER_BYTES && numBytes <= maxBytes) return numBytes
  throw new ClusterError(
    'invalid_argument',
    `link: want messages of ${HEADER_BYTES} to ${maxBytes} bytes, got ${numBytes}`,
  )
}

function readMessage(bytes: Buffer, isShared: boolean): LinkMessage {
  const kind = KINDS[bytes.readUInt8(0)]
  const subjectEnd = HEADER_BYTES + bytes.readUInt16LE(1)
  const replyEnd = subjectEnd + bytes.readUInt16LE(3)
  if (kind === undefined || replyEnd > bytes.length) throw new ClusterError('invalid_argument', 'link: broken header')
  return {
    kind,
    subject: bytes.toString('latin1', HEADER_BYTES, subjectEnd),
    reply: bytes.toString('latin1', subjectEnd, replyEnd),
    payload: bytes.subarray(replyEnd),
    isShared,
  }
}
