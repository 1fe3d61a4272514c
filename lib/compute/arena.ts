// Room in a linear memory: first fit over a list of free ranges, neighbours merged when one is given back.

import { ClusterError } from '../errors.js'

export interface Arena {
  /** A range of at least that many bytes, aligned to 64. Throws `resource_exhausted` where the memory cannot grow. */
  readonly allocate: (numBytes: number) => number
  readonly release: (address: number) => void
  readonly usedBytes: number
  readonly freeBytes: number // given back, to be used again
}

interface Range {
  readonly from: number
  readonly to: number
}

const ALIGNMENT = 64 // a cache line

/** An arena from `start`; `grow` makes the memory reach a given end, or throws. */
export function createArena(start: number, grow: (end: number) => void): Arena {
  let free: Range[] = []
  let end = start
  let usedBytes = 0
  const sizes = new Map<number, number>()

  const take = (size: number): number => {
    const place = free.findIndex(({ from, to }) => to - from >= size)
    const range = free[place]
    if (range !== undefined) {
      free = free.with(place, { from: range.from + size, to: range.to }).filter(({ from, to }) => to > from)
      return range.from
    }
    grow(end + size)
    end += size
    return end - size
  }

  return {
    get usedBytes() {
      return usedBytes
    },
    get freeBytes() {
      return free.reduce((sum, { from, to }) => sum + to - from, 0)
    },
    allocate: (numBytes) => {
      const size = Math.max(1, Math.ceil(numBytes / ALIGNMENT)) * ALIGNMENT
      const address = take(size)
      sizes.set(address, size)
      usedBytes += size
      return address
    },
    release: (address) => {
      const size = sizes.get(address)
      if (size === undefined) throw new ClusterError('internal', `arena: nothing was allocated at ${address}`)
      sizes.delete(address)
      usedBytes -= size
      free = merged([...free, { from: address, to: address + size }])
    },
  }
}

function merged(ranges: readonly Range[]): Range[] {
  const result: Range[] = []
  for (const range of [...ranges].sort((a, b) => a.from - b.from)) {
    const last = result.at(-1)
    if (last?.to === range.from) result[result.length - 1] = { from: last.from, to: range.to }
    else result.push(range)
  }
  return result
}
