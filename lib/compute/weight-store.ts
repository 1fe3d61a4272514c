// Packed weights in files: the engine reads them straight into its memory, and a second start finds what the first one
// packed.
//
// Invariants
//   W1  A file is complete or absent: it is written under a temporary name, its index last, both by rename.
//   W2  A damaged or foreign index is packed again, never trusted.
//   W3  Where no file can be written the weights pass through memory: same bits.

import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { ClusterError } from '../errors.js'

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
  /** Tells that the sessions over the sets opened so far are loaded: files that nobody keeps are removed. */
  loaded(): void
}

const ALIGNMENT = 4096 // the engine maps pages
const VERSION = 4 // of the packing: tiles, block size, order of nibbles

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

/** A store in `folder`, which is kept, or (without one) in a temporary folder that is emptied after loading. */
export function createWeightStore(folder: string | undefined): WeightStore {
  let temporary: string | undefined
  const place = (): string => {
    if (folder === undefined) return (temporary ??= mkdtempSync(join(tmpdir(), 'banyan-weights-')))
    mkdirSync(folder, { recursive: true })
    return folder
  }
  return {
    open: (key, make) => {
      if (folder !== undefined) {
        const kept = readIndex(folder, key)
        if (kept !== undefined) return placed(folder, key, kept)
      }
      const made = make()
      try {
        const at = place()
        return placed(at, key, writeSet(at, key, made))
      } catch (error) {
        if (!isFileError(error)) throw error
        return made // W3
      }
    },
    loaded: () => {
      if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true })
      temporary = undefined
    },
  }
}

const dataFile = (key: string): string => `${key}.bin`
const isFileError = (error: unknown): boolean => error instanceof Error && 'code' in error && 'syscall' in error

function placed(folder: string, key: string, { tensors }: Index): WeightSet {
  const entries = Object.entries(tensors).map(([name, { element, dims, layout, offset, length }]) => {
    return [name, { element, dims, layout, source: { folder, file: dataFile(key), offset, length } }] as const
  })
  return Object.fromEntries(entries)
}

function readIndex(folder: string, key: string): Index | undefined {
  try {
    const index = indexSchema.parse(JSON.parse(readFileSync(join(folder, `${key}.json`), 'utf8')))
    return statSync(join(folder, dataFile(key))).size === index.sizeBytes ? index : undefined
  } catch {
    return undefined // absent or damaged: packed again (W2)
  }
}

function writeSet(folder: string, key: string, set: WeightSet): Index {
  const tensors: Index['tensors'] = {}
  const parts: Uint8Array[] = []
  let offset = 0
  for (const [name, { element, dims, layout, source }] of Object.entries(set)) {
    if ('folder' in source) throw new ClusterError('internal', `weights ${key}: ${name} is in a file already`)
    const data = new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    const padding = (ALIGNMENT - (data.length % ALIGNMENT)) % ALIGNMENT
    tensors[name] = { element, dims: [...dims], layout, offset, length: data.length }
    parts.push(data, new Uint8Array(padding))
    offset += data.length + padding
  }
  const index: Index = { version: VERSION, sizeBytes: offset, tensors }
  writeWhole(join(folder, dataFile(key)), Buffer.concat(parts))
  writeWhole(join(folder, `${key}.json`), JSON.stringify(index))
  return index
}

function writeWhole(path: string, data: Uint8Array | string): void {
  const temporary = `${path}.${process.pid}.tmp`
  writeFileSync(temporary, data)
  renameSync(temporary, path)
}
