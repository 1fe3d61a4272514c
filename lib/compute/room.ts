// Room for the operands of runs: handed out one after the other, taken back all at once.

import type { Arena } from './arena.js'
import type { Kernels } from './kernels.js'

const ALIGNMENT = 64 // a cache line
const FIRST_BYTES = 1 << 20

export interface Room {
  /** Address of that many bytes; they hold anything. Throws `resource_exhausted`. */
  take(numBytes: number): number
  /** Takes everything back. */
  reset(): void
  /** Gives the memory back; the room can be used again. */
  dispose(): void
}

interface Chunk {
  readonly address: number
  readonly numBytes: number
}

/** A room that grows by chunks, and has one that is large enough after the next reset. */
export function createRoom(arena: Pick<Arena, 'allocate' | 'release'>): Room {
  let chunks: Chunk[] = []
  let used = 0 // of the last chunk

  const grow = (numBytes: number): Chunk => {
    const chunk = { address: arena.allocate(numBytes), numBytes }
    chunks.push(chunk)
    used = 0
    return chunk
  }

  const dispose = (): void => {
    for (const { address } of chunks) arena.release(address)
    chunks = []
    used = 0
  }

  return {
    dispose,
    take: (numBytes) => {
      const size = Math.ceil(numBytes / ALIGNMENT) * ALIGNMENT
      const last = chunks.at(-1)
      const chunk = last !== undefined && used + size <= last.numBytes ? last : grow(Math.max(size, FIRST_BYTES))
      used += size
      return chunk.address + used - size
    },
    reset: () => {
      used = 0
      if (chunks.length < 2) return
      const total = chunks.reduce((sum, { numBytes }) => sum + numBytes, 0)
      dispose()
      grow(total)
    },
  }
}

/** Copies values into a room; returns their address. */
export function placeFloats(kernels: Kernels, room: Room, values: Float32Array): number {
  const address = room.take(values.byteLength)
  kernels.floats(address, values.length).set(values)
  return address
}

/** Copies integers into a room; returns their address. */
export function placeInts(kernels: Kernels, room: Room, values: ArrayLike<number>): number {
  const address = room.take(values.length * 4)
  kernels.ints(address, values.length).set(values)
  return address
}

export interface Piece {
  readonly first: number
  readonly size: number
}

/** The size of a piece where 0 … count-1 are cut into at most `pieces` of about the same size. */
export const pieceOf = (count: number, pieces: number): number => Math.max(1, Math.ceil(count / pieces))

/** Cuts 0 … count-1 into at most `pieces` pieces of about the same size. */
export function cut(count: number, pieces: number): readonly Piece[] {
  const size = pieceOf(count, pieces)
  const cuts: Piece[] = []
  for (let first = 0; first < count; first += size) cuts.push({ first, size: Math.min(size, count - first) })
  return cuts
}
