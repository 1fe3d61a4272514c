// Messages above the bus's payload limit travel as chunks.
//
// A chunk is 0xc1 (a byte that msgpack never uses), the message's 12-byte id, its index, the number of chunks and the
// total size (three big-endian uint32), then its part of the bytes. A payload that itself starts with 0xc1 is sent as
// one chunk, so that any bytes can be sent.
//
// Invariants
//   H1  Chunks of a message may arrive in any order and twice; the message comes out once, or not at all.
//   H2  Partial messages are bounded in number and bytes and expire.

import { ClusterError } from '../errors.js'

const MARK = 0xc1
const HEADER_BYTES = 25
const MAX_PARTIALS = 256
const EXPIRE_MS = 30_000

/** The payloads to publish for a message: itself where it fits, else its chunks. */
export type Split = (message: Uint8Array, maxPayloadBytes: number) => Uint8Array[]

/** For one sender, whose 8 bytes no other one has. */
export function createSplitter(senderId: Uint8Array): Split {
  let numSent = 0
  return (message, maxPayloadBytes) => {
    if (message.byteLength <= maxPayloadBytes && message[0] !== MARK) return [message]
    const room = maxPayloadBytes - HEADER_BYTES
    const count = Math.max(1, Math.ceil(message.byteLength / room))
    numSent = (numSent + 1) >>> 0
    return Array.from({ length: count }, (_, index) => {
      const part = message.subarray(index * room, (index + 1) * room)
      const chunk = Buffer.allocUnsafe(HEADER_BYTES + part.byteLength)
      chunk[0] = MARK
      chunk.set(senderId, 1)
      chunk.writeUInt32BE(numSent, 9)
      chunk.writeUInt32BE(index, 13)
      chunk.writeUInt32BE(count, 17)
      chunk.writeUInt32BE(message.byteLength, 21)
      chunk.set(part, HEADER_BYTES)
      return chunk
    })
  }
}

export interface Reassembler {
  /** The whole message once its last part is here, else undefined. Throws `invalid_argument` on a broken chunk. */
  accept(payload: Uint8Array, nowMs: () => number): Uint8Array | undefined
  readonly numDropped: number // partial messages given up
}

interface Partial {
  readonly bytes: Uint8Array
  readonly arrived: Uint8Array
  numMissing: number
  readonly expiresMs: number
}

export function createReassembler(maxMessageBytes: number): Reassembler {
  const partials = new Map<string, Partial>()
  let numDropped = 0

  const expire = (nowMs: number): void => {
    for (const [id, partial] of partials) {
      if (partial.expiresMs > nowMs && partials.size < MAX_PARTIALS) return
      partials.delete(id)
      numDropped += 1
    }
  }

  const accept: Reassembler['accept'] = (payload, nowMs) => {
    if (payload[0] !== MARK) return payload
    const { id, index, count, total, part } = readChunk(payload, maxMessageBytes)
    if (count === 1) return part
    let partial = partials.get(id)
    if (partial === undefined) {
      const sinceMs = nowMs()
      expire(sinceMs)
      partial = {
        bytes: new Uint8Array(total),
        arrived: new Uint8Array(count),
        numMissing: count,
        expiresMs: sinceMs + EXPIRE_MS,
      }
      partials.set(id, partial)
    }
    const offset = index === count - 1 ? total - part.byteLength : index * part.byteLength
    if (partial.arrived.length !== count || offset < 0 || offset + part.byteLength > total) {
      partials.delete(id)
      numDropped += 1
      throw broken(`part ${index} of ${count} does not fit ${total} bytes`)
    }
    if (partial.arrived[index] === 1) return undefined
    partial.arrived[index] = 1
    partial.numMissing -= 1
    partial.bytes.set(part, offset)
    if (partial.numMissing > 0) return undefined
    partials.delete(id)
    return partial.bytes
  }

  return {
    accept,
    get numDropped() {
      return numDropped
    },
  }
}

const broken = (what: string): ClusterError => new ClusterError('invalid_argument', `chunk: ${what}`)

function readChunk(payload: Uint8Array, maxMessageBytes: number) {
  if (payload.byteLength < HEADER_BYTES) throw broken(`want at least ${HEADER_BYTES} bytes, got ${payload.byteLength}`)
  const view = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  const index = view.readUInt32BE(13)
  const count = view.readUInt32BE(17)
  const total = view.readUInt32BE(21)
  if (count === 0 || index >= count || count > total + 1) throw broken(`index ${index} of ${count}`)
  if (total > maxMessageBytes) throw broken(`want at most ${maxMessageBytes} bytes in all, got ${total}`)
  return { id: view.toString('latin1', 1, 13), index, count, total, part: payload.subarray(HEADER_BYTES) }
}
