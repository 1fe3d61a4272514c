// The header of a GGUF file: read by @huggingface/gguf, trusted after the checks below.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// Invariants
//   GH1  Counts are bounded by the file's size before anything is allocated for them.
//   GH2  Every tensor has a known format, whole blocks in each row, and bytes of its own inside the file; what lies between
//        them, and after the last, is padding: a header that tells of too few is noticed.
//   GH3  What is read took exactly the bytes that it has in the file: no key stands twice.

import { gguf, GGUFValueType, type GGUFParseOutput, type GGUFTypedMetadata } from '@huggingface/gguf'
import { closeSync, fstatSync, readSync } from 'node:fs'
import { resolve } from 'node:path'
import { ClusterError } from '../../errors.js'
import { openFile } from '../open-file.js'
import { readExactly } from '../safetensors.js'
import { sizeOf } from '../stored-tensor.js'
import { encodedBytes, formatOf, GGUF_FORMATS, otherFormat, type GgufFormatName } from './formats.js'
import { ggufFields, type GgufFields } from './fields.js'

export interface GgufTensorInfo {
  readonly name: string
  readonly format: GgufFormatName
  readonly shape: readonly number[] // outermost first, as everywhere else
  readonly begin: number // bytes, from the start of the file
  readonly end: number
}

export interface GgufHeader {
  readonly path: string
  readonly fields: GgufFields
  readonly tensors: ReadonlyMap<string, GgufTensorInfo>
  readonly numBytes: number // up to the first tensor's
  readonly sizeBytes: number // of the file
}

type Refuse = (what: string) => never
type TypedHeader = GGUFParseOutput & { readonly typedMetadata: GGUFTypedMetadata }

const PREAMBLE_BYTES = 24
const LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8 // name, one dimension, type, offset
const LEAST_VALUE_BYTES = 8 + 4 + 1 // key, type, value
const MAX_DIMS = 4

/** Reads and checks the header. Throws `invalid_argument` naming file and tensor or key, and what `openFile` does. */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  const refuse: Refuse = (what) => {
    throw new ClusterError('invalid_argument', `${path}: ${what}`)
  }
  const { preamble, sizeBytes } = readPreamble(path)
  checkPreamble(preamble, sizeBytes, refuse)
  const parsed = await parse(path, countsOf(preamble), refuse)
  const [valuesEnd, end] = parsed.tensorInfoByteRange
  if (end > sizeBytes) refuse(`want a header of at least ${end} bytes, got a file of ${sizeBytes}`)
  const values = readValues(readStart(path, valuesEnd), parsed.typedMetadata, refuse)
  const fields = ggufFields(values, path)
  const alignment = fields.count('general.alignment', 32)
  if (!Number.isInteger(Math.log2(alignment))) fields.refuse('general.alignment', 'a power of two')
  const numBytes = Math.ceil(end / alignment) * alignment
  const tensors = checkTensors(parsed, { numBytes, sizeBytes, alignment }, refuse)
  return { path, fields, tensors, numBytes, sizeBytes }
}

function readPreamble(path: string): { readonly preamble: Buffer; readonly sizeBytes: number } {
  const fd = openFile(path)
  try {
    const preamble = Buffer.alloc(PREAMBLE_BYTES)
    const length = readSync(fd, preamble, 0, PREAMBLE_BYTES, 0)
    return { preamble: preamble.subarray(0, length), sizeBytes: fstatSync(fd).size }
  } finally {
    closeSync(fd)
  }
}

function checkPreamble(preamble: Buffer, sizeBytes: number, refuse: Refuse): void {
  const magic = preamble.toString('latin1', 0, 4)
  if (magic !== 'GGUF') refuse(`magic: want "GGUF", got ${JSON.stringify(magic)}`)
  if (preamble.length < PREAMBLE_BYTES) refuse(`want at least ${PREAMBLE_BYTES} bytes, got ${preamble.length}`)
  const version = preamble.readUInt32LE(4)
  if (version !== 2 && version !== 3) {
    const isSwapped = [1, 2, 3].includes(preamble.readUInt32BE(4))
    refuse(`version: want 2 or 3, got ${isSwapped ? 'a big-endian file' : version}`)
  }
  const { numTensors, numValues } = countsOf(preamble)
  const check = (found: bigint, what: string, leastBytes: number): void => {
    const most = Math.floor((sizeBytes - PREAMBLE_BYTES) / leastBytes)
    if (found > BigInt(most)) refuse(`${what}: want at most ${most} in ${sizeBytes} bytes, got ${found}`)
  }
  check(numTensors, 'tensor count', LEAST_TENSOR_BYTES)
  check(numValues, 'metadata count', LEAST_VALUE_BYTES)
}

interface Counts {
  readonly numTensors: bigint
  readonly numValues: bigint
}

const countsOf = (preamble: Buffer): Counts => ({
  numTensors: preamble.readBigUInt64LE(8),
  numValues: preamble.readBigUInt64LE(16),
})

/** The library's reading; what it throws is about the file's bytes, or follows from a count that is wrong. */
async function parse(path: string, { numTensors, numValues }: Counts, refuse: Refuse): Promise<TypedHeader> {
  try {
    return await gguf(resolve(path), { allowLocalFile: true, typedMetadata: true })
  } catch (error) {
    const isCut = error instanceof RangeError
    const reason = isCut || !(error instanceof Error) ? 'a length in it goes beyond its end' : error.message
    const counts = `${numValues} metadata values and ${numTensors} tensors`
    return refuse(`header: cannot be read as the ${counts} that it counts: ${reason}`)
  }
}

const VALUE_BYTES: Readonly<Partial<Record<GGUFValueType, number>>> = {
  [GGUFValueType.UINT8]: 1,
  [GGUFValueType.INT8]: 1,
  [GGUFValueType.UINT16]: 2,
  [GGUFValueType.INT16]: 2,
  [GGUFValueType.UINT32]: 4,
  [GGUFValueType.INT32]: 4,
  [GGUFValueType.FLOAT32]: 4,
  [GGUFValueType.BOOL]: 1,
  [GGUFValueType.UINT64]: 8,
  [GGUFValueType.INT64]: 8,
  [GGUFValueType.FLOAT64]: 8,
}

const COUNTED = new Set(['version', 'tensor_count', 'kv_count']) // the library lists the preamble as values, too

function readStart(path: string, length: number): Buffer {
  const fd = openFile(path)
  try {
    return Buffer.from(readExactly(fd, path, 0, length).buffer)
  } finally {
    closeSync(fd)
  }
}

/**
 * The values by key, texts from the file's bytes: the library takes a byte order mark off a text (tokens begin with
 * one), and cuts a text off where the piece of the file ends that it holds.
 */
function readValues(bytes: Buffer, metadata: GGUFTypedMetadata, refuse: Refuse): Map<string, unknown> {
  const values = new Map<string, unknown>()
  let at = PREAMBLE_BYTES
  const text = (): string => {
    const from = at + 8
    at = from + Number(at + 8 <= bytes.length ? bytes.readBigUInt64LE(at) : 0)
    return bytes.toString('utf8', from, at)
  }
  for (const [key, { value, type, ...rest }] of Object.entries(metadata)) {
    if (COUNTED.has(key)) continue
    const found = text()
    if (found !== key)
      refuse(`metadata: want each key once, got ${JSON.stringify(found)} before ${JSON.stringify(key)}`)
    at += 4
    const element = 'subType' in rest ? rest.subType : undefined
    if (element === GGUFValueType.ARRAY) refuse(`${key}: want a list of values, got one of lists`)
    if (Array.isArray(value)) at += 4 + 8
    if (type === GGUFValueType.STRING) values.set(key, text())
    else if (Array.isArray(value) && element === GGUFValueType.STRING) values.set(key, value.map(text))
    else {
      values.set(key, value)
      at += Array.isArray(value) ? value.length * (VALUE_BYTES[element ?? type] ?? 0) : (VALUE_BYTES[type] ?? 0)
    }
  }
  if (at !== bytes.length) refuse(`metadata: want each key once and ${bytes.length} bytes, got ${at}`)
  return values
}

interface Bounds {
  readonly numBytes: number
  readonly sizeBytes: number
  readonly alignment: number
}

function checkTensors({ tensorInfos }: GGUFParseOutput, bounds: Bounds, refuse: Refuse): Map<string, GgufTensorInfo> {
  const tensors = new Map<string, GgufTensorInfo>()
  for (const info of tensorInfos) {
    if (tensors.has(info.name)) refuse(`tensor ${info.name}: stands in the header twice`)
    tensors.set(info.name, checkTensor(info, bounds, refuse))
  }
  checkPlaces([...tensors.values()], bounds, refuse)
  return tensors
}

/** Tensors lie one after the other, each at the first multiple of the alignment, up to the end of the file. */
function checkPlaces(tensors: readonly GgufTensorInfo[], { numBytes, sizeBytes, alignment }: Bounds, refuse: Refuse) {
  let [end, before] = [numBytes, 'the header']
  for (const { name, ...place } of tensors.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (place.begin < end || place.begin - end >= alignment)
      refuse(`tensor ${name}: want an offset from byte ${end}, where ${before} ends, got ${place.begin}`)
    ;[end, before] = [place.end, name]
  }
  if (sizeBytes - end >= alignment)
    refuse(`tensor count: want tensors up to byte ${sizeBytes}, the file's end, got ${tensors.length} up to ${end}`)
}

function checkTensor(
  { name, shape: dims, dtype, offset }: GGUFParseOutput['tensorInfos'][number],
  { numBytes, sizeBytes, alignment }: Bounds,
  refuseFile: Refuse,
): GgufTensorInfo {
  const refuse: Refuse = (what) => refuseFile(`tensor ${name}: ${what}`)
  const format = formatOf(dtype)
  if (format === undefined)
    return refuse(`format: want one of ${Object.keys(GGUF_FORMATS).join(', ')}, got ${otherFormat(dtype)}`)
  const shape = dims.map(Number).reverse()
  if (shape.length < 1 || shape.length > MAX_DIMS) refuse(`want 1 to ${MAX_DIMS} dimensions, got ${shape.length}`)
  if (shape.some((size) => size < 1) || !Number.isSafeInteger(sizeOf(shape)))
    refuse(`want dimensions of at least 1 that fit the file, got [${shape.join(', ')}]`)
  const { values } = GGUF_FORMATS[format]
  const width = shape.at(-1) ?? 0
  if (width % values !== 0) refuse(`want rows of whole ${format} blocks of ${values}, got ${width} values`)
  if (offset % BigInt(alignment) !== 0n) refuse(`offset: want a multiple of ${alignment}, got ${offset}`)
  const numTensorBytes = encodedBytes(format, sizeOf(shape))
  if (offset > BigInt(sizeBytes) || numBytes + Number(offset) + numTensorBytes > sizeBytes)
    refuse(`want ${numTensorBytes} bytes from ${BigInt(numBytes) + offset}, got a file of ${sizeBytes}`)
  const begin = numBytes + Number(offset)
  return { name, format, shape, begin, end: begin + numTensorBytes }
}
