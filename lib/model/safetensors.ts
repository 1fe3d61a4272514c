// Reads and writes the safetensors format: u64 header length, JSON header, raw little-endian row-major data.
// https://huggingface.co/docs/safetensors
//
// Invariants
//   ST1  Nothing outside the file's data section is ever read: every offset is checked before the first read.
//   ST2  Tensors are read by offset, one at a time; the file is never held in memory.

import { closeSync, fstatSync, readSync, writeFileSync } from 'node:fs'
import { ClusterError } from '../errors.js'
import { bytesAt, PIECE_VALUES, roomFor } from '../packing/packing-memory.js'
import { widenTo } from './dtypes.js'
import { openFile } from './open-file.js'
import { numRows, rowWidth, sizeOf, type StoredTensor, type TensorFile } from './stored-tensor.js'

const PIECE_BYTES = PIECE_VALUES * 2

const MAX_HEADER_BYTES = 100 * 1024 * 1024

interface TensorInfo {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly begin: number // bytes, from the start of the data section
  readonly end: number
}

export interface SafetensorsFile extends TensorFile {
  readonly header: string // the JSON text
  /** A whole tensor as float32 (F32, F16, BF16 and FP8 are readable). */
  readFloat32(name: string): Float32Array
}

const DTYPE_BYTES: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
}

/** Opens a file and checks its whole header. Throws `invalid_argument` naming file and tensor, and what `openFile` does. */
export function openSafetensors(path: string): SafetensorsFile {
  const fd = openFile(path)
  try {
    return readHeader(fd, path)
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** `length` bytes from `offset`. Throws `invalid_argument` where the file ends before. */
export function readExactly(fd: number, path: string, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  readInto(bytes, fd, path, offset)
  return bytes
}

/** Fills `bytes` from `offset` on, likewise. */
export function readInto(bytes: Uint8Array, fd: number, path: string, offset: number): void {
  const { length } = bytes
  let done = 0
  while (done < length) {
    const count = readSync(fd, bytes, done, length - done, offset + done)
    if (count === 0)
      throw new ClusterError(
        'invalid_argument',
        `${path}: ends at ${offset + done}, want ${length} bytes from ${offset}`,
      )
    done += count
  }
}

function readHeader(fd: number, path: string): SafetensorsFile {
  const sizeBytes = fstatSync(fd).size
  const refuse = (what: string): never => {
    throw new ClusterError('invalid_argument', `${path}: ${what}`)
  }
  if (sizeBytes < 8) refuse(`want at least 8 bytes, got ${sizeBytes}`)
  const headerBytes = Number(Buffer.from(readExactly(fd, path, 0, 8)).readBigUInt64LE())
  if (headerBytes > Math.min(MAX_HEADER_BYTES, sizeBytes - 8)) {
    refuse(`header of ${headerBytes} bytes: want at most ${Math.min(MAX_HEADER_BYTES, sizeBytes - 8)}`)
  }
  const header = Buffer.from(readExactly(fd, path, 8, headerBytes)).toString('utf8')
  const dataStart = 8 + headerBytes
  const tensors = new Map<string, StoredTensor>()
  for (const [name, info] of parseHeader(header, sizeBytes - dataStart, path))
    tensors.set(name, storedTensor({ fd, path, dataStart }, name, info))
  return {
    path,
    header,
    sizeBytes,
    tensors,
    readFloat32: (name) => {
      const tensor = tensors.get(name) ?? refuse(`tensor ${name} is not in this file`)
      return tensor.readRows(0, numRows(tensor))
    },
    readInto: (bytes, offset) => readInto(bytes, fd, path, offset),
    close: () => closeSync(fd),
  }
}

interface DataSection {
  readonly fd: number
  readonly path: string
  readonly dataStart: number
}

function storedTensor({ fd, path, dataStart }: DataSection, name: string, info: TensorInfo): StoredTensor {
  const { dtype, shape, begin, end } = info
  const rows = numRows(info)
  const valueBytes = DTYPE_BYTES[dtype] ?? 0
  const rowBytes = rowWidth(info) * valueBytes
  const check = (first: number, count: number): void => {
    if (first >= 0 && count >= 0 && first + count <= rows) return
    throw new ClusterError(
      'invalid_argument',
      `${path}: tensor ${name}: want rows ${first} … ${first + count - 1}, got ${rows} rows`,
    )
  }
  return {
    name,
    file: path,
    dtype,
    shape,
    numBytes: end - begin,
    readRaw: (first, count) => {
      check(first, count)
      return readExactly(fd, path, dataStart + begin + first * rowBytes, count * rowBytes)
    },
    readRows: (first, count, into = new Float32Array(count * rowWidth(info))) => {
      check(first, count)
      const offset = dataStart + begin + first * rowBytes
      const piece = bytesAt(roomFor('bytes', PIECE_BYTES), PIECE_BYTES)
      const perPiece = PIECE_BYTES / valueBytes
      for (let done = 0; done < into.length; done += perPiece) {
        const to = into.subarray(done, done + perPiece)
        const bytes = piece.subarray(0, to.length * valueBytes)
        readInto(bytes, fd, path, offset + done * valueBytes)
        widenTo(to, bytes, dtype, `${path}: tensor ${name}`)
      }
      return into
    },
  }
}

function parseHeader(header: string, dataBytes: number, path: string): Map<string, TensorInfo> {
  const refuse = (what: string): never => {
    throw new ClusterError('invalid_argument', `${path}: ${what}`)
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(header)
  } catch (error) {
    throw new ClusterError('invalid_argument', `${path}: the header is not JSON`, { cause: error })
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return refuse('want a JSON object as header')
  const tensors = new Map<string, TensorInfo>()
  for (const [name, value] of Object.entries(parsed)) {
    if (name !== '__metadata__') tensors.set(name, parseTensor(name, value, dataBytes, refuse))
  }
  const twice = duplicateOf(header, tensors)
  if (twice !== undefined) refuse(`tensor ${twice}: want it once in the header, got it twice`)
  const ordered = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  ordered.forEach(([name, tensor], i) => {
    const [before = '', previous] = ordered[i - 1] ?? []
    if (previous !== undefined && tensor.begin < previous.end) refuse(`tensors ${before} and ${name} overlap`)
  })
  return tensors
}

/** A name that the header has twice: JSON keeps only the last. */
function duplicateOf(header: string, tensors: ReadonlyMap<string, TensorInfo>): string | undefined {
  if (header.split('"data_offsets"').length - 1 <= tensors.size) return undefined
  return [...tensors.keys()].find((name) => header.split(`${JSON.stringify(name)}:`).length > 2)
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

function parseTensor(name: string, value: unknown, dataBytes: number, refuse: (what: string) => never): TensorInfo {
  if (typeof value !== 'object' || value === null) return refuse(`tensor ${name}: want an object`)
  // Any object may be read by these keys; each is checked below.
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>
  const width = typeof dtype === 'string' && Object.hasOwn(DTYPE_BYTES, dtype) ? DTYPE_BYTES[dtype] : undefined
  if (typeof dtype !== 'string' || width === undefined) return refuse(`tensor ${name}: unknown dtype ${String(dtype)}`)
  if (!Array.isArray(shape) || !shape.every(isSize)) return refuse(`tensor ${name}: want a shape of sizes`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return refuse(`tensor ${name}: want data_offsets [begin, end]`)
  }
  const [begin = 0, end = 0] = offsets
  if (begin > end || end > dataBytes) return refuse(`tensor ${name}: bytes ${begin} … ${end} of ${dataBytes}`)
  if (sizeOf(shape) * width !== end - begin) {
    return refuse(
      `tensor ${name}: ${dtype} [${shape.join(', ')}] wants ${sizeOf(shape) * width} bytes, got ${end - begin}`,
    )
  }
  return { dtype, shape, begin, end }
}

export interface FloatTensor {
  readonly data: Float32Array
  readonly shape: readonly number[]
}

/** Writes float32 tensors. */
export function writeSafetensors(path: string, tensors: Readonly<Record<string, FloatTensor>>): void {
  const header: Record<string, unknown> = {}
  const parts: Uint8Array[] = []
  let offset = 0
  for (const [name, { data, shape }] of Object.entries(tensors)) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + data.byteLength] }
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    offset += data.byteLength
  }
  const text = Buffer.from(JSON.stringify(header))
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  writeFileSync(path, Buffer.concat([length, padded, ...parts]))
}
