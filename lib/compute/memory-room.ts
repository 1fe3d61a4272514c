// How much more this process may hold, and the refusal of weights that are more: before any of them is read.

import { totalmem } from 'node:os'
import { ClusterError, type ErrorDetails } from '../errors.js'

export interface MemoryRoom {
  readonly bytes: number
  readonly because: string // where the number comes from
}

export const sized = (bytes: number): string =>
  Math.abs(bytes) < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`

/**
 * Of the container's limit what is not in use, or the machine's free memory; with it what the process has taken and can
 * use again.
 */
export function processRoom(reusableBytes = 0): MemoryRoom {
  const limit = process.constrainedMemory()
  if (limit > 0 && limit < totalmem()) {
    const used = process.memoryUsage.rss() - reusableBytes
    return { bytes: limit - used, because: `memory limit ${sized(limit)} less ${sized(used)} in use` }
  }
  return { bytes: process.availableMemory() + reusableBytes, because: 'free memory of the machine' }
}

const ENGINE_BYTES = 2 ** 32

/** Of what one engine can address, what is not taken. */
export const engineRoom = (usedBytes: number): MemoryRoom => ({
  bytes: ENGINE_BYTES - usedBytes,
  because: `one process computes in ${sized(ENGINE_BYTES)}, ${sized(usedBytes)} of it in use`,
})

/** The one that bounds. */
export const leastRoom = (rooms: readonly MemoryRoom[]): MemoryRoom =>
  rooms.reduce((small, room) => (room.bytes < small.bytes ? room : small))

/** Reason of the refusal, for those who asked. */
export const NO_ROOM = 'NO_ROOM'

export interface RefusalWords {
  readonly advice?: string
  readonly details?: ErrorDetails
}

/** Throws `resource_exhausted` with the arithmetic where weights of so many bytes fit into less than all rooms. */
export function requireRoom(
  what: string,
  bytes: number,
  rooms: readonly MemoryRoom[],
  { advice = 'use more workers, a larger limit or a smaller weight format', details = {} }: RefusalWords = {},
): void {
  const least = leastRoom(rooms)
  if (bytes <= least.bytes) return
  throw new ClusterError(
    'resource_exhausted',
    `${what}: want ${sized(bytes)}, got room for ${sized(Math.max(0, least.bytes))} (${least.because}); ${advice}`,
    { details: { reason: NO_ROOM, ...details } },
  )
}
