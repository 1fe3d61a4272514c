// The form of the journal file: eight letters, then records, each as
//   length of the body (u32) · CRC-32 of the body (u32) · body
//   body: what it does (u8) · revision (f64) · time of the put (f64, ms since 1970) · length of the key (u16) · key · value
// Little-endian, keys in UTF-16: any text survives.
//
// Invariants
//   F1  What is read is a prefix of what was written, in whole records: reading ends at the first that is torn or corrupt.
//   F2  Zeros are no record: a file that grew without its content reads as torn.

import { crc32 } from 'node:zlib'
import { ClusterError } from '../errors.js'

const MAGIC = Buffer.from('BANYANJ1')
const HEAD_BYTES = 8
const FIXED_BYTES = 1 + 8 + 8 + 2 // of a body

const OPS = ['put', 'remove', 'revision'] as const // `revision`: none up to this one is given out again

export interface LogRecord {
  readonly op: (typeof OPS)[number]
  readonly key: string
  readonly value: Uint8Array
  readonly revision: number
  readonly writtenAtMs: number
}

export interface ReadLog {
  readonly records: readonly LogRecord[] // their values lie in the bytes that were read
  readonly validBytes: number // 0: not even the first eight letters are there
}

export const LOG_START: Uint8Array = MAGIC

export function encodeRecord({ op, key, value, revision, writtenAtMs }: LogRecord): Uint8Array {
  const keyBytes = Buffer.from(key, 'utf16le')
  const record = Buffer.alloc(HEAD_BYTES + FIXED_BYTES + keyBytes.length + value.byteLength)
  const body = record.subarray(HEAD_BYTES)
  body.writeUInt8(OPS.indexOf(op), 0)
  body.writeDoubleLE(revision, 1)
  body.writeDoubleLE(writtenAtMs, 9)
  body.writeUInt16LE(keyBytes.length, 17)
  keyBytes.copy(body, FIXED_BYTES)
  body.set(value, FIXED_BYTES + keyBytes.length)
  record.writeUInt32LE(body.length, 0)
  record.writeUInt32LE(crc32(body), 4)
  return record
}

/** Reads a whole file. Throws `failed_precondition` where it is not a journal. */
export function readLog(file: Uint8Array): ReadLog {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  const start = bytes.subarray(0, MAGIC.length)
  if (!start.equals(MAGIC.subarray(0, start.length))) {
    throw new ClusterError('failed_precondition', 'journal file: want one that begins with BANYANJ1, found another')
  }
  if (start.length < MAGIC.length) return { records: [], validBytes: 0 }
  const records: LogRecord[] = []
  let at = MAGIC.length
  for (;;) {
    const read = readRecord(bytes.subarray(at))
    if (read === undefined) return { records, validBytes: at }
    records.push(read.record)
    at += read.numBytes
  }
}

function readRecord(bytes: Buffer): { readonly record: LogRecord; readonly numBytes: number } | undefined {
  if (bytes.length < HEAD_BYTES + FIXED_BYTES) return undefined
  const numBytes = HEAD_BYTES + bytes.readUInt32LE(0)
  if (numBytes < HEAD_BYTES + FIXED_BYTES || numBytes > bytes.length) return undefined
  const body = bytes.subarray(HEAD_BYTES, numBytes)
  if (crc32(body) !== bytes.readUInt32LE(4)) return undefined
  const op = OPS[body.readUInt8(0)]
  const valueAt = FIXED_BYTES + body.readUInt16LE(17)
  if (op === undefined || valueAt > body.length) return undefined
  const key = body.toString('utf16le', FIXED_BYTES, valueAt)
  const record = {
    op,
    key,
    value: body.subarray(valueAt),
    revision: body.readDoubleLE(1),
    writtenAtMs: body.readDoubleLE(9),
  }
  return { record, numBytes }
}
