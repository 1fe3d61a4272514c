// The memory in which checkpoints are read and packed, a piece at a time, by SIMD kernels (`kernels/widening.ts`,
// `kernels/levels.ts`, `kernels/tiles.ts`): a few megabytes per process, beside the engine's.
//
// Invariants
//   PM1  Reading and packing are synchronous: a room is what its last user made of it until somebody asks for it again.
//   PM2  Arrays over this memory stay valid when it grows.

import { ClusterError } from '../errors.js'
import { kernelModule } from './kernel-module.js'

/** Values of a piece: what is read, widened and packed at a time, unless rows are longer. */
export const PIECE_VALUES = 256 * 1024

/** What lies there: the file's bytes, what becomes of them, rows in another order, rows, what these become, error sums. */
export type Room = 'bytes' | 'widened' | 'columns' | 'rows' | 'levels' | 'scales' | 'tiles' | 'terms' | 'sums'

export type PackingKernel =
  | 'widenBfloat16'
  | 'widenFloat16'
  | 'narrowFloat16'
  | 'areFinite'
  | 'quantiseInt8'
  | 'quantiseInt4'
  | 'addErrorsInt8'
  | 'addErrorsInt4'
  | 'tileInt8'
  | 'tileInt4'
  | 'tileFloats'

type Values = Float32Array | Uint8Array

interface PackingMemory {
  readonly memory: WebAssembly.Memory
  buffer: SharedArrayBuffer // asking for it costs more than keeping it
  readonly exports: WebAssembly.Instance['exports']
  readonly buffers: WeakSet<ArrayBufferLike> // growing makes a new one over the same bytes
  readonly rooms: Map<Room, { readonly address: number; readonly numBytes: number }>
  end: number
}

const PAGE_BYTES = 65536
const FIRST_PAGES = 64

let made: PackingMemory | undefined

function packingMemory(): PackingMemory {
  if (made !== undefined) return made
  const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: PAGE_BYTES, shared: true })
  const wide = (): never => {
    throw new ClusterError('internal', 'packing: no task is computed here')
  }
  const { exports } = new WebAssembly.Instance(kernelModule(), { env: { memory, wide } })
  made = {
    memory,
    buffer: memory.buffer,
    exports,
    buffers: new WeakSet([memory.buffer]),
    rooms: new Map(),
    end: PAGE_BYTES,
  }
  return made
}

/** Runs a kernel over this memory. Throws `internal` where the kernels are not what this build expects. */
export function runPacking(name: PackingKernel, ...operands: number[]): number | undefined {
  const { exports } = packingMemory()
  const kernel = exports[name]
  if (kernel === undefined)
    throw new ClusterError('internal', `kernels: want ${name}, got ${Object.keys(exports).join()}`)
  return kernel(...operands)
}

/** Address of a room of at least that many bytes, the same for all calls until one needs more; it holds anything. */
export function roomFor(room: Room, numBytes: number): number {
  const all = packingMemory()
  const found = all.rooms.get(room)
  if (found !== undefined && found.numBytes >= numBytes) return found.address
  const size = 2 ** Math.ceil(Math.log2(Math.max(numBytes, PAGE_BYTES))) // little is left behind where it grows
  const place = { address: all.end, numBytes: size }
  const missing = Math.ceil((all.end + size) / PAGE_BYTES) - all.buffer.byteLength / PAGE_BYTES
  if (missing > 0) {
    all.memory.grow(missing)
    all.buffer = all.memory.buffer
    all.buffers.add(all.buffer)
  }
  all.end += size
  all.rooms.set(room, place)
  return place.address
}

export const floatsAt = (address: number, length: number): Float32Array =>
  new Float32Array(packingMemory().buffer, address, length)

export const halvesAt = (address: number, length: number): Uint16Array =>
  new Uint16Array(packingMemory().buffer, address, length)

export const doublesAt = (address: number, length: number): Float64Array =>
  new Float64Array(packingMemory().buffer, address, length)

export const bytesAt = (address: number, length: number): Uint8Array =>
  new Uint8Array(packingMemory().buffer, address, length)

/** Where an array over this memory lies; nothing for others. */
export function addressOf({ buffer, byteOffset }: Values): number | undefined {
  return packingMemory().buffers.has(buffer) ? byteOffset : undefined
}

/** Address of the array's values in this memory; those of others are copied to the room. */
export function placeIn(room: Room, values: Values): number {
  return addressOf(values) ?? copyTo(roomFor(room, values.byteLength), values)
}

/** The same in the room, with the bytes behind filled up to `numBytes`. */
export function placeFilled(room: Room, values: Values, numBytes: number, filling = 0): number {
  const address = roomFor(room, numBytes)
  if (addressOf(values) !== address) copyTo(address, values)
  bytesAt(address + values.byteLength, numBytes - values.byteLength).fill(filling)
  return address
}

function copyTo(address: number, values: Values): number {
  if (values instanceof Float32Array) floatsAt(address, values.length).set(values)
  else bytesAt(address, values.length).set(values)
  return address
}
