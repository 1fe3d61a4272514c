// Writes GGUF version 3: header, typed metadata, tensor descriptions, then the tensors' data.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// Invariants
//   GW1  A file is whole or absent: it is written under a temporary name and renamed at the end.
//   GW2  Memory holds one piece of one tensor.
//   GW3  Every tensor begins at a multiple of 32 bytes, in the order given, and has exactly the bytes its dims ask for.

import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { ClusterError } from '../../errors.js'
import { encodeValues, type EncodedFormat } from './encoding.js'
import { encodedBytes, GGUF_FORMATS } from './formats.js'

export type GgufValue =
  | { readonly type: 'uint32' | 'float32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'strings'; readonly value: readonly string[] }
  | { readonly type: 'int32s'; readonly value: readonly number[] }

export type GgufMetadata = readonly (readonly [key: string, value: GgufValue])[]

export interface GgufTensor {
  readonly name: string
  readonly dims: readonly number[] // innermost first
  readonly format: EncodedFormat // the innermost dimension is a multiple of its block
  /** All values in order, in pieces of whole blocks. */
  readonly pieces: () => Iterable<Float32Array>
}

export interface GgufContent {
  readonly metadata: GgufMetadata
  readonly tensors: readonly GgufTensor[]
}

const MAGIC = 'GGUF'
const VERSION = 3
const ALIGNMENT = 32
const TYPE_IDS = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const

/** Writes a file and returns its size in bytes; `onTensor` hears of each tensor written. Nothing stays when it fails. */
export async function writeGguf(
  file: string,
  content: GgufContent,
  options: { readonly signal?: AbortSignal; readonly onTensor?: () => void } = {},
): Promise<number> {
  const temporary = `${file}.${process.pid}.tmp`
  const stream = createWriteStream(temporary)
  try {
    await pipeline(ggufBytes(content, options.onTensor), stream, { signal: options.signal })
    await rename(temporary, file)
    return stream.bytesWritten
  } catch (error) {
    await rm(temporary, { force: true })
    if (error instanceof ClusterError || options.signal?.aborted === true) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new ClusterError('failed_precondition', `${file}: cannot be written: ${reason}`, { cause: error })
  }
}

/** The bytes of a file, in order. */
export function* ggufBytes({ metadata, tensors }: GgufContent, onTensor?: () => void): Generator<Uint8Array> {
  const head = Buffer.concat([
    Buffer.from(MAGIC),
    uint32(VERSION),
    uint64(tensors.length),
    uint64(metadata.length),
    ...metadata.flatMap(([key, value]) => [string(key), ...typedValue(value)]),
    ...tensorInfos(tensors),
  ])
  yield head
  yield padding(head.length)
  for (const tensor of tensors) {
    yield* tensorBytes(tensor)
    onTensor?.()
  }
}

const sizeOf = ({ dims, format }: GgufTensor): number =>
  encodedBytes(
    format,
    dims.reduce((product, axis) => product * axis, 1),
  )

const padding = (length: number): Uint8Array => new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT)

function tensorInfos(tensors: readonly GgufTensor[]): Buffer[] {
  let offset = 0
  return tensors.map((tensor) => {
    const { name, dims, format } = tensor
    const info = [
      string(name),
      uint32(dims.length),
      ...dims.map(uint64),
      uint32(GGUF_FORMATS[format].id),
      uint64(offset),
    ]
    const size = sizeOf(tensor)
    offset += size + padding(size).length
    return Buffer.concat(info)
  })
}

function* tensorBytes(tensor: GgufTensor): Generator<Uint8Array> {
  let written = 0
  for (const values of tensor.pieces()) {
    const bytes = encode(tensor, values)
    written += bytes.length
    yield bytes
  }
  if (written !== sizeOf(tensor))
    throw new ClusterError('internal', `tensor ${tensor.name}: want ${sizeOf(tensor)} bytes, got ${written}`)
  yield padding(written)
}

function encode({ name, format }: GgufTensor, values: Float32Array): Uint8Array {
  try {
    return encodeValues(format, values)
  } catch (error) {
    const { code, message } = ClusterError.from(error)
    throw new ClusterError(code, `tensor ${name} as ${format}: ${message}`, { cause: error })
  }
}

function typedValue(typed: GgufValue): Buffer[] {
  switch (typed.type) {
    case 'uint32':
      return [uint32(TYPE_IDS.uint32), uint32(typed.value)]
    case 'float32':
      return [uint32(TYPE_IDS.float32), float32(typed.value)]
    case 'bool':
      return [uint32(TYPE_IDS.bool), Buffer.of(typed.value ? 1 : 0)]
    case 'string':
      return [uint32(TYPE_IDS.string), string(typed.value)]
    case 'strings':
      return [...arrayHead('string', typed.value.length), ...typed.value.map(string)]
    case 'int32s':
      return [...arrayHead('int32', typed.value.length), Buffer.from(Int32Array.from(typed.value).buffer)]
  }
}

const arrayHead = (element: keyof typeof TYPE_IDS, length: number): Buffer[] => [
  uint32(TYPE_IDS.array),
  uint32(TYPE_IDS[element]),
  uint64(length),
]

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function float32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([uint64(bytes.length), bytes])
}
