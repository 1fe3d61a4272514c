// Packed weights in files: the engine reads them straight into its memory, and a second start finds what the first one
// packed.
//
// Invariants
//   W1  A file is complete or absent: it is written under a temporary name, its index last, both by rename.
//   W2  What is damaged or foreign is packed again, never trusted: data is checked against its checksum before it is used.
//   W3  Where no file can be written the weights pass through memory, part by part: same bits.

import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { ClusterError } from '../errors.js'
import { collectDropped } from './garbage.js'

/** A packed tensor: its values, or the place in a file of the weight folder that holds them. */
export interface WeightTensor {
  readonly element: 'float' | 'uint8'
  readonly dims: readonly number[]
  /** How tiles hold integers. */
  readonly layout?: TileLayout | undefined
  readonly source: Float32Array | Uint8Array | WeightPlace
}

export interface WeightPlace {
  readonly folder: string
  readonly file: string
  readonly offset: number // bytes
  readonly length: number
}

export type WeightSet = Readonly<Record<string, WeightTensor>>

/** A float32 tensor as a weight. */
export const floatWeight = (source: Float32Array, dims: readonly number[]): WeightTensor => ({
  element: 'float',
  dims,
  source,
})

/** The weight of that name. Throws `internal` where the set lacks it. */
export function weightOf(set: WeightSet, name: string): WeightTensor {
  const tensor = set[name]
  if (tensor === undefined) throw new ClusterError('internal', `weights: want ${name}, got ${Object.keys(set).join()}`)
  return tensor
}

export interface WeightStore {
  /** The set named `key`, packed by `make` where it is not in the folder yet. */
  open(key: string, make: () => WeightSet): WeightSet
  /** The same of parts that are packed one by one: each set has its part, and is to be used before the next is taken. */
  openParts<K>(key: string, parts: ReadonlyMap<K, () => WeightSet>): Iterable<readonly [K, WeightSet]>
}

const ALIGNMENT = 4096 // the engine maps pages
const VERSION = 5 // of the packing: tiles, block size, order of nibbles, which blocks are kept

const layoutSchema = z.object({
  bits: z.union([z.literal(8), z.literal(4)]),
  blocks: z.number().int().positive(), // of a row
  blocksPerScale: z.number().int().positive(),
  scales: z.enum(['bfloat16', 'float16']),
})
export type TileLayout = Readonly<z.infer<typeof layoutSchema>>

const indexSchema = z.object({
  version: z.literal(VERSION),
  sizeBytes: z.number().int().nonnegative(),
  checksum: z.number().int().nonnegative(), // CRC-32 of the file
  tensors: z.record(
    z.string(),
    z.object({
      element: z.enum(['float', 'uint8']),
      dims: z.array(z.number().int().positive()),
      layout: layoutSchema.optional(),
      offset: z.number().int().nonnegative(),
      length: z.number().int().positive(),
    }),
  ),
})
type Index = z.infer<typeof indexSchema>

/** A store in `folder`; without one, weights pass through memory. `warn` hears why a folder is not used. */
export function createWeightStore(folder: string | undefined, warn?: (reason: string) => void): WeightStore {
  let kept = folder
  const give = (error: unknown): void => {
    if (!isFileError(error)) throw error
    warn?.(`weights are not kept in ${folder}: ${error.message}`)
    kept = undefined // W3
  }

  /** The whole set from its file, written now where it has none. */
  const fromFile = (at: string, key: string, parts: readonly (() => WeightSet)[]): WeightSet | undefined => {
    const known = readIndex(at, key)
    if (known !== undefined) return placed(at, key, known)
    try {
      mkdirSync(at, { recursive: true })
      return placed(at, key, writeSet(at, key, parts))
    } catch (error) {
      give(error)
      return undefined
    }
  }

  function* openParts<K>(key: string, parts: ReadonlyMap<K, () => WeightSet>): Iterable<readonly [K, WeightSet]> {
    const set = kept === undefined ? undefined : fromFile(kept, key, [...parts.values()])
    for (const [name, make] of parts) {
      yield [name, set ?? make()]
      collectDropped()
    }
  }
  return {
    open: (key, make) => {
      collectDropped() // of the sets before
      return (kept === undefined ? undefined : fromFile(kept, key, [make])) ?? make()
    },
    openParts,
  }
}

const dataFile = (key: string): string => `${key}.bin`
const isFileError = (error: unknown): error is Error => error instanceof Error && 'code' in error && 'syscall' in error

function placed(folder: string, key: string, { tensors }: Index): WeightSet {
  const entries = Object.entries(tensors).map(([name, { element, dims, layout, offset, length }]) => {
    return [name, { element, dims, layout, source: { folder, file: dataFile(key), offset, length } }] as const
  })
  return Object.fromEntries(entries)
}

/** The index of a set whose file is whole; undefined where there is none, or it is damaged (W2). */
function readIndex(folder: string, key: string): Index | undefined {
  try {
    const index = indexSchema.parse(JSON.parse(readFileSync(join(folder, `${key}.json`), 'utf8')))
    const path = join(folder, dataFile(key))
    return statSync(path).size === index.sizeBytes && checksumOf(path) === index.checksum ? index : undefined
  } catch {
    return undefined
  }
}

const PIECE_BYTES = 2 ** 20

function checksumOf(path: string): number {
  const file = openSync(path, 'r')
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    let checksum = 0
    for (let count; (count = readSync(file, piece)) > 0;) checksum = crc32(piece.subarray(0, count), checksum)
    return checksum
  } finally {
    closeSync(file)
  }
}

/** Packs and writes part by part: no two parts are in memory at once (W1). */
function writeSet(folder: string, key: string, parts: readonly (() => WeightSet)[]): Index {
  const index = writeWhole(join(folder, dataFile(key)), (file) => {
    const tensors: Index['tensors'] = {}
    let [offset, checksum] = [0, 0]
    const append = (data: Uint8Array): void => {
      for (let at = 0; at < data.length;) at += writeSync(file, data, at)
      checksum = crc32(data, checksum)
      offset += data.length
    }
    for (const make of parts) {
      collectDropped()
      for (const [name, { element, dims, layout, source }] of Object.entries(make())) {
        if ('folder' in source) throw new ClusterError('internal', `weights ${key}: ${name} is in a file already`)
        const data = new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
        tensors[name] = { element, dims: [...dims], layout, offset, length: data.length }
        append(data)
        append(new Uint8Array((ALIGNMENT - (data.length % ALIGNMENT)) % ALIGNMENT))
      }
    }
    return { version: VERSION, sizeBytes: offset, checksum, tensors } as const
  })
  writeWhole(join(folder, `${key}.json`), (file) => writeSync(file, JSON.stringify(index)))
  return index
}

/** Writes under a temporary name; whatever fails, that name is gone afterwards. */
function writeWhole<T>(path: string, write: (file: number) => T): T {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    const file = openSync(temporary, 'w')
    let result: T
    try {
      result = write(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
    return result
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
