// One message with its envelope as bytes: plain msgpack that any decoder reads, checked wholly where it enters.
//
// Invariants
//   F1  Whatever the bytes, decoding ends with a Frame or one ClusterError `invalid_argument` that says what was wrong.
//   F2  A frame of another protocol version is refused before its body is looked at.

import { Packr, Unpackr } from 'msgpackr'
import { ClusterError } from '../errors.js'
import { MESSAGE_SCHEMAS, type Message, type MessageKind } from './messages.js'

export const PROTOCOL_VERSION = 1
export const MAX_FRAME_BYTES = 256 * 1024 * 1024

export interface Envelope {
  readonly id: string // of this message; a reply repeats the id of what it answers
  readonly from: string // address of the sender, '' when it has none
  readonly timeoutMs: number // how long its asker waits from its sending: clocks of machines differ; 0: no asker
  readonly epoch: number // of the routing table that the sender acts on, 0: none
  readonly traceparent: string | undefined
}

export interface Frame {
  readonly envelope: Envelope
  readonly message: Message
}

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })

/** Bytes of a frame. They are the caller's own: nothing reuses them. */
export function encodeFrame({ envelope, message }: Frame): Uint8Array {
  const { kind, ...body } = message
  const packed = packr.pack({
    v: PROTOCOL_VERSION,
    k: kind,
    id: envelope.id,
    from: envelope.from,
    dl: envelope.timeoutMs,
    ep: envelope.epoch,
    ...(envelope.traceparent === undefined ? {} : { tp: envelope.traceparent }),
    b: body,
  })
  return packed
}

const refuse = (what: string, cause?: unknown): ClusterError =>
  new ClusterError('invalid_argument', `frame: ${what}`, cause === undefined ? {} : { cause })

/** Reads and checks a frame; binary fields are views on `bytes`. Throws `invalid_argument`. */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.byteLength > MAX_FRAME_BYTES) throw refuse(`want at most ${MAX_FRAME_BYTES} bytes, got ${bytes.byteLength}`)
  const raw = asRecord(unpack(bytes))
  if (raw === undefined) throw refuse('want a map')
  if (raw.v !== PROTOCOL_VERSION) throw refuse(`want version ${PROTOCOL_VERSION}, got ${String(raw.v)}`)
  return { envelope: readEnvelope(raw), message: readMessage(raw.k, raw.b) }
}

function unpack(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes)
  } catch (error) {
    throw refuse(`not msgpack: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isPlain = typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
  // A plain object may be read by any key; every field is checked before it is used.
  return isPlain ? (value as Record<string, unknown>) : undefined
}

function readEnvelope({ id, from, dl, ep, tp }: Readonly<Record<string, unknown>>): Envelope {
  if (typeof id !== 'string' || typeof from !== 'string' || id.length > 512 || from.length > 512) {
    throw refuse('want text of at most 512 characters in id and from')
  }
  if (typeof dl !== 'number' || typeof ep !== 'number' || !Number.isFinite(dl) || !Number.isInteger(ep) || ep < 0) {
    throw refuse('want numbers in dl and ep')
  }
  if (tp !== undefined && typeof tp !== 'string') throw refuse('want text in tp')
  return { id, from, timeoutMs: dl, epoch: ep, traceparent: tp }
}

const isKind = (kind: unknown): kind is MessageKind => typeof kind === 'string' && Object.hasOwn(MESSAGE_SCHEMAS, kind)

function readMessage(kind: unknown, body: unknown): Message {
  if (!isKind(kind)) throw refuse(`unknown kind ${String(kind).slice(0, 64)}`)
  const parsed = MESSAGE_SCHEMAS[kind].safeParse(body)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw refuse(`${kind}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`)
  }
  // The schema of a kind yields the body of that kind; TypeScript cannot follow the lookup.
  return { kind, ...parsed.data } as Message
}
