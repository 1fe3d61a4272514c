// One message with its envelope as bytes: plain msgpack that any decoder reads, checked wholly where it enters.
//
// Invariants
//   F1  Whatever the bytes, decoding ends with a Frame or one ClusterError `invalid_argument` that says what was wrong.
//   F2  A frame of a version that is not read here is refused before its body is looked at, with what its sender speaks.
//   F3  Of a frame of any version, past or to come, its version and the versions that its sender speaks can be read.

import { Unpackr } from 'msgpackr'
import { ClusterError } from '../errors.js'
import { pack, packOften } from './frame-buffers.js'
import { kindOfNumber, numberOfKind, packBody, unpackBody } from './layouts.js'
import { MESSAGE_SCHEMAS, type Message, type MessageKind } from './messages.js'
import { describeVersions, isWithin, KNOWN_VERSIONS, type VersionRange } from './versions.js'

export const MAX_FRAME_BYTES = 256 * 1024 * 1024

/** The reason of the refusal of a frame whose version is not read. */
export const WIRE_VERSION = 'WIRE_VERSION'

export interface Envelope {
  readonly id: string // of this message; a reply repeats the id of what it answers
  readonly from: string // address of the sender, '' when it has none
  readonly timeoutMs: number // how long its asker waits from its sending: clocks of machines differ; 0: no asker
  readonly epoch: number // of the routing table that the sender acts on, 0: none
  readonly traceparent: string | undefined
}

/** What a frame of any version says first. */
export interface FrameHeader {
  readonly version: number
  readonly speaks: VersionRange // the sender
}

export interface Frame extends FrameHeader {
  readonly envelope: Envelope
  readonly message: Message
}

type Fields = Readonly<Record<string, unknown>>
type RawFrame = readonly unknown[] | Fields

const isList = (raw: RawFrame): raw is readonly unknown[] => Array.isArray(raw)

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

/** Kinds that carry the rows of a step, layer by layer. */
const OFTEN: ReadonlySet<MessageKind> = new Set(['expert.compute', 'expert.output'])

/** Bytes of a frame. They are the caller's own: nothing reuses them before he gives them back (`giveBack`), if he does. */
export function encodeFrame(frame: Frame): Uint8Array {
  const write = OFTEN.has(frame.message.kind) ? packOften : pack
  if (frame.version === 1) return write(toMap(frame))
  if (frame.version === 2) return write(toList(frame))
  throw new ClusterError('internal', `frame: want ${describeVersions(KNOWN_VERSIONS)}, got ${frame.version}`)
}

/** Version 1 was first spoken by processes that knew no other: who speaks no more than that says so by saying nothing. */
function toMap({ speaks, envelope, message }: Frame): Fields {
  const { kind, ...body } = message
  return {
    v: 1,
    k: kind,
    id: envelope.id,
    from: envelope.from,
    dl: envelope.timeoutMs,
    ep: envelope.epoch,
    ...(envelope.traceparent === undefined ? {} : { tp: envelope.traceparent }),
    ...(speaks.highest === 1 ? {} : { vs: [speaks.lowest, speaks.highest] }),
    b: body,
  }
}

function toList({ speaks, envelope, message }: Frame): readonly unknown[] {
  const { id, from, timeoutMs, epoch, traceparent = null } = envelope
  const kind = numberOfKind(message.kind)
  return [2, speaks.lowest, speaks.highest, kind, id, from, timeoutMs, epoch, traceparent, packBody(message)]
}

const refuse = (what: string, cause?: unknown): ClusterError =>
  new ClusterError('invalid_argument', `frame: ${what}`, cause === undefined ? {} : { cause })

/** Reads and checks a frame; binary fields are views on `bytes`. Throws `invalid_argument`. */
export function decodeFrame(bytes: Uint8Array, reads: VersionRange = KNOWN_VERSIONS): Frame {
  const raw = unpack(bytes)
  const header = readHeader(raw)
  const { version, speaks } = header
  if (!isWithin(version, reads)) {
    const why = `frame: want ${describeVersions(reads)}, got ${version}; its sender speaks ${describeVersions(speaks)}`
    throw new ClusterError('invalid_argument', why, { details: { reason: WIRE_VERSION } })
  }
  const fields = isList(raw) ? ofList(raw) : ofMap(raw)
  return { version, speaks, envelope: readEnvelope(fields), message: readMessage(fields.kind, fields.body) }
}

const heard = new WeakMap<Uint8Array, Frame>()

/** `decodeFrame` of what everybody hears: several listeners of one process may be given the very same bytes. */
export function decodeHeard(bytes: Uint8Array, reads: VersionRange = KNOWN_VERSIONS): Frame {
  const known = heard.get(bytes)
  if (known !== undefined && isWithin(known.version, reads)) return known
  const frame = decodeFrame(bytes, reads)
  heard.set(bytes, frame)
  return frame
}

/** What a frame says first, where it says that at all: for those that cannot be read further. */
export function headerOf(bytes: Uint8Array): FrameHeader | undefined {
  try {
    return readHeader(unpack(bytes))
  } catch {
    return undefined // it is refused with the reason where it is decoded
  }
}

function unpack(bytes: Uint8Array): RawFrame {
  if (bytes.byteLength > MAX_FRAME_BYTES) throw refuse(`want at most ${MAX_FRAME_BYTES} bytes, got ${bytes.byteLength}`)
  const raw = unpackAny(bytes)
  if (typeof raw !== 'object' || raw === null || ArrayBuffer.isView(raw)) throw refuse('want a map or a list')
  return raw as RawFrame // any object may be read by any key; every field is checked before it is used
}

function unpackAny(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes)
  } catch (error) {
    throw refuse(`not msgpack: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

/** For a message: not every decoded value can be made text. */
const show = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? String(value).slice(0, 64) : `of type ${typeof value}`

const isVersion = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535

/** A map is of version 1, a list of a later one. */
function readHeader(raw: RawFrame): FrameHeader {
  const [version, lowest, highest] = isList(raw) ? raw : headOfMap(raw)
  if (!isVersion(version) || (version === 1) === isList(raw)) {
    throw refuse(`want a map of version 1 or a list of a later one, got version ${show(version)}`)
  }
  if (!isVersion(lowest) || !isVersion(highest) || lowest > highest) throw refuse('want the versions of its sender')
  return { version, speaks: { lowest, highest } }
}

function headOfMap({ v, vs = [1, 1] }: Fields): readonly unknown[] {
  return Array.isArray(vs) ? [v, ...(vs as readonly unknown[])] : [v]
}

const ofMap = ({ k, b, id, from, dl, ep, tp }: Fields): Fields => ({ kind: k, body: b, id, from, dl, ep, tp })

function ofList(list: readonly unknown[]): Fields {
  const kind = kindOfNumber(list[3]) ?? list[3]
  const body = isKind(kind) ? unpackBody(kind, list[9]) : undefined
  return { kind, body, id: list[4], from: list[5], dl: list[6], ep: list[7], tp: list[8] ?? undefined }
}

function readEnvelope({ id, from, dl, ep, tp }: Fields): Envelope {
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
  if (!isKind(kind)) throw refuse(`unknown kind ${show(kind)}`)
  const parsed = MESSAGE_SCHEMAS[kind].safeParse(body)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw refuse(`${kind}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`)
  }
  // The schema of a kind yields the body of that kind; TypeScript cannot follow the lookup.
  return { kind, ...parsed.data } as Message
}
