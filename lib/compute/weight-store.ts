// Packed weights in files: the engine reads them straight into its memory, and a second start finds what the first one
// packed.
//
// Invariants
//   W1  A file is complete or absent: it is written under a temporary name, its index last, both by rename; who leaves
//       the work half done leaves no file.
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
import { hostname } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import * as z from 'zod'
import { ClusterError } from '../errors.js'
import { bytesAt, roomFor } from '../packing/packing-memory.js'
import { collectDropped } from './garbage.js'
import { giveBack } from './recycled.js'
import { asOneStep, type Steps } from './steps.js'

const ELEMENTS = ['float', 'float16', 'uint8'] as const

/** A packed tensor: its values, or the place in a file of the weight folder that holds them. */
export interface WeightTensor {
  readonly element: (typeof ELEMENTS)[number]
  readonly dims: readonly number[]
  /** How tiles hold integers. */
  readonly layout?: TileLayout | undefined
  readonly source: Float32Array | Uint16Array | Uint8Array | WeightPlace
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
  open(key: string, make: Make): Steps<WeightSet>
  /**
   * The same of parts that are packed one by one: `use` is given a set that has the part, before the next is made, and
   * copies what it needs of it.
   */
  openParts<K>(key: string, parts: ReadonlyMap<K, Make>, use: (part: K, set: WeightSet) => void): Steps<void>
}

type Make = () => Steps<WeightSet>

const ALIGNMENT = 4096 // the engine maps pages
const PADDING = new Uint8Array(ALIGNMENT)
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
      element: z.enum(ELEMENTS),
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
  function* fromFile(at: string, key: string, parts: readonly Make[]): Steps<WeightSet | undefined> {
    const known = yield* readIndex(at, key)
    if (known !== undefined) return placed(at, key, known)
    try {
      mkdirSync(at, { recursive: true })
      return placed(at, key, yield* writeSet(at, key, parts))
    } catch (error) {
      give(error)
      return undefined
    }
  }

  return {
    *open(key, make) {
      collectDropped() // of the sets before
      return (kept === undefined ? undefined : yield* fromFile(kept, key, [make])) ?? (yield* make())
    },
    *openParts(key, parts, use) {
      const set = kept === undefined ? undefined : yield* fromFile(kept, key, [...parts.values()])
      for (const [part, make] of parts) {
        const made = set ?? (yield* make())
        use(part, made)
        giveBack(made)
        collectDropped()
        yield
      }
    },
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
function* readIndex(folder: string, key: string): Steps<Index | undefined> {
  let index: Index
  try {
    index = indexSchema.parse(JSON.parse(readFileSync(join(folder, `${key}.json`), 'utf8')))
    if (statSync(join(folder, dataFile(key))).size !== index.sizeBytes) return undefined
  } catch {
    return undefined
  }
  return (yield* checksumOf(join(folder, dataFile(key)))) === index.checksum ? index : undefined
}

const PIECE_BYTES = 2 ** 20

/** Undefined where the file cannot be read. */
function* checksumOf(path: string): Steps<number | undefined> {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const piece = bytesAt(roomFor('bytes', PIECE_BYTES), PIECE_BYTES)
    let checksum = 0
    for (let count; (count = readSync(file, piece)) > 0;) {
      checksum = crc32(piece.subarray(0, count), checksum)
      yield
    }
    return checksum
  } catch (error) {
    if (isFileError(error)) return undefined
    throw error
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** Packs and writes part by part: no two parts are in memory at once (W1). */
function* writeSet(folder: string, key: string, parts: readonly Make[]): Steps<Index> {
  const index = yield* writeWhole(join(folder, dataFile(key)), function* (file) {
    const tensors: Index['tensors'] = {}
    let [offset, checksum] = [0, 0]
    function* append(data: Uint8Array): Steps<void> {
      for (let at = 0; at < data.length;) {
        const count = writeSync(file, data, at, Math.min(PIECE_BYTES, data.length - at))
        checksum = crc32(data.subarray(at, at + count), checksum)
        at += count
        yield
      }
      offset += data.length
    }
    for (const make of parts) {
      collectDropped()
      const set = yield* make()
      for (const [name, { element, dims, layout, source }] of Object.entries(set)) {
        if ('folder' in source) throw new ClusterError('internal', `weights ${key}: ${name} is in a file already`)
        const data = new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
        tensors[name] = { element, dims: [...dims], layout, offset, length: data.length }
        yield* append(data)
        yield* append(PADDING.subarray(0, (ALIGNMENT - (data.length % ALIGNMENT)) % ALIGNMENT))
      }
      giveBack(set)
    }
    return { version: VERSION, sizeBytes: offset, checksum, tensors } as const
  })
  yield* writeWhole(join(folder, `${key}.json`), (file) => asOneStep(() => writeSync(file, JSON.stringify(index))))
  return index
}

let numWritten = 0

/** Writes under a temporary name; whatever fails, that name is gone afterwards. */
function* writeWhole<T>(path: string, write: (file: number) => Steps<T>): Steps<T> {
  // Services of one process may write the same set, and containers that share a folder have equal process ids.
  const temporary = `${path}.${hostname()}-${process.pid}-${(numWritten += 1)}.tmp`
  try {
    const file = openSync(temporary, 'w')
    let result: T
    try {
      result = yield* write(file)
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
