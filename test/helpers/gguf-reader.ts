// Reads a GGUF file by its published layout (version 3), for tests of the writer.

import { readFileSync } from 'node:fs'

export interface GgufFile {
  readonly metadata: ReadonlyMap<string, unknown>
  readonly tensors: ReadonlyMap<
    string,
    { readonly dims: readonly number[]; readonly type: number; readonly data: Buffer }
  >
}

const TYPES = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const
const ALIGNMENT = 32
/** Bytes of a block, values in it. */
const SIZES: Readonly<Record<number, readonly [bytes: number, values: number]>> = {
  0: [4, 1],
  1: [2, 1],
  2: [18, 32],
  8: [34, 32],
}

export function readGguf(path: string): GgufFile {
  const bytes = readFileSync(path)
  let at = 0
  const take = <T>(size: number, read: (at: number) => T): T => {
    at += size
    return read(at - size)
  }
  const uint32 = (): number => take(4, (from) => bytes.readUInt32LE(from))
  const uint64 = (): number => Number(take(8, (from) => bytes.readBigUInt64LE(from)))
  const string = (): string => {
    const length = uint64()
    return take(length, (from) => bytes.toString('utf8', from, from + length))
  }
  const value = (type: number): unknown => {
    switch (type) {
      case TYPES.uint32:
        return uint32()
      case TYPES.int32:
        return take(4, (from) => bytes.readInt32LE(from))
      case TYPES.float32:
        return take(4, (from) => bytes.readFloatLE(from))
      case TYPES.bool:
        return take(1, (from) => bytes[from] === 1)
      case TYPES.string:
        return string()
      case TYPES.array: {
        const element = uint32()
        return Array.from({ length: uint64() }, () => value(element))
      }
      default:
        throw new Error(`metadata type ${type}`)
    }
  }
  if (take(4, (from) => bytes.toString('latin1', from, from + 4)) !== 'GGUF' || uint32() !== 3)
    throw new Error('no GGUF 3')
  const [numTensors, numValues] = [uint64(), uint64()]
  const metadata = new Map(Array.from({ length: numValues }, () => [string(), value(uint32())] as const))
  const infos = Array.from({ length: numTensors }, () => {
    const name = string()
    const dims = Array.from({ length: uint32() }, uint64)
    return { name, dims, type: uint32(), offset: uint64() }
  })
  const start = Math.ceil(at / ALIGNMENT) * ALIGNMENT
  const tensors = infos.map(({ name, dims, type, offset }) => {
    const [blockBytes, values] = SIZES[type] ?? [NaN, 1]
    const size = (dims.reduce((product, axis) => product * axis, 1) / values) * blockBytes
    if (offset % ALIGNMENT !== 0) throw new Error(`${name}: offset ${offset}`)
    return [name, { dims, type, data: bytes.subarray(start + offset, start + offset + size) }] as const
  })
  return { metadata, tensors: new Map(tensors) }
}

/** The values of a tensor's bytes, by the published block formats. */
export function decodeGguf(type: number, data: Buffer): number[] {
  const [blockBytes] = SIZES[type] ?? [NaN]
  const values: number[] = []
  for (let at = 0; at < data.length; at += blockBytes) {
    if (type === 0) values.push(data.readFloatLE(at))
    else if (type === 1) values.push(halfAt(data, at))
    else if (type === 8) for (let i = 0; i < 32; i++) values.push(halfAt(data, at) * data.readInt8(at + 2 + i))
    else
      for (let i = 0; i < 32; i++) {
        const pair = data[at + 2 + (i % 16)] ?? 0
        values.push(halfAt(data, at) * ((i < 16 ? pair & 15 : pair >> 4) - 8))
      }
  }
  return values
}

function halfAt(data: Buffer, at: number): number {
  const bits = data.readUInt16LE(at)
  const [sign, exponent, fraction] = [bits >> 15 === 1 ? -1 : 1, (bits >> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}
