// What routers want an expert worker to hold; it holds what any of them wants.

import { ClusterError } from '../../lib/errors.js'
import type { ExpertStore } from '../../lib/decode/expert-store.js'

/** router → shards */
export type WantedBy = Map<string, readonly number[]>

export interface Wants {
  readonly wantedBy: WantedBy
  /** A router has said what it wants, and all that is wanted is held. */
  readonly isSettled: boolean
  /** Resolves when the worker holds what its routers want. */
  set(router: string, shards: readonly number[]): Promise<void>
  /** A router is gone: what it alone wanted is dropped as soon as another one has said what it wants. */
  forget(this: void, router: string): void
  /** The worker leaves: it loads nothing more, and what it does not hold it owes nobody. */
  close(): void
}

export function createWants(store: Pick<ExpertStore, 'place' | 'shards' | 'close'>, onPlaced: () => void): Wants {
  const wantedBy: WantedBy = new Map()
  const gone = new Set<string>()
  let isClosed = false
  const isHeld = (shard: number): boolean => store.shards.includes(shard)

  const place = async (): Promise<void> => {
    for (const router of gone) if (wantedBy.size > 1) wantedBy.delete(router)
    await store.place([...new Set([...wantedBy.values()].flat())])
    onPlaced()
  }
  return {
    wantedBy,
    get isSettled() {
      const wanted = [...wantedBy.values()].flat()
      return wantedBy.size > 0 && wanted.every(isHeld)
    },
    set: async (router, shards) => {
      gone.delete(router)
      wantedBy.set(router, isClosed ? shards.filter(isHeld) : shards)
      await place()
      const missing = shards.filter((shard) => !isHeld(shard))
      if (isClosed && missing.length > 0)
        throw new ClusterError('failed_precondition', `leaving: shards ${missing.join()} are not loaded any more`)
    },
    forget: (router) => {
      if (!wantedBy.has(router)) return
      gone.add(router)
      place().catch(() => undefined) // nothing new is loaded, so nothing can fail that anybody waits for
    },
    close: () => {
      isClosed = true
      store.close()
      for (const [router, shards] of wantedBy) wantedBy.set(router, shards.filter(isHeld))
    },
  }
}
