// The order in which a step asks the holders of each shard: live ones first, slow ones after them, and among these so that
// the workers of one step have about as much to do. A shard's rows go to one worker in a step: over two, its experts'
// weights would be read twice. Where a step leaves the choice open, who had less in the steps before is asked first, so the
// holders of a shard that outweighs all others take turns.

import type { Placement } from './placement.js'

const FORGET = 0.9 // of what a worker had before, per step

export interface Standing {
  readonly isLive: (worker: string) => boolean
  readonly isSlow?: (worker: string) => boolean
}

export interface ReplicaOrder {
  /** For the next step. `loads`: by shard; none are known: all alike. */
  order(table: Placement, standing: Standing, loads?: readonly number[]): string[][]
}

export function createReplicaOrder(): ReplicaOrder {
  let before = new Map<string, number>() // worker → load of earlier steps

  return {
    order: (table, { isLive, isSlow = () => false }, loads) => {
      if (table.every((holders) => holders.length < 2)) {
        before.clear()
        return unordered(table)
      }
      const loadOf = (shard: number): number => loads?.[shard] ?? 1
      const now = new Map<string, number>()
      const standing = (worker: string): number => (isLive(worker) ? (isSlow(worker) ? 1 : 2) : 0)
      const ordered = unordered(table)
      const heaviestFirst = [...ordered.entries()].sort(([a], [b]) => loadOf(b) - loadOf(a) || a - b)
      for (const [shard, holders] of heaviestFirst) {
        holders.sort(
          (a, b) =>
            standing(b) - standing(a) ||
            (now.get(a) ?? 0) - (now.get(b) ?? 0) ||
            (before.get(a) ?? 0) - (before.get(b) ?? 0),
        )
        const [first] = holders
        if (first !== undefined) now.set(first, (now.get(first) ?? 0) + loadOf(shard))
      }
      const workers = new Set(table.flat())
      before = new Map(
        [...workers].map((worker) => [worker, FORGET * (before.get(worker) ?? 0) + (now.get(worker) ?? 0)]),
      )
      return ordered
    },
  }
}

const unordered = (table: Placement): string[][] => table.map((holders) => [...holders])
