// What expert workers said of the memory that they have for shards. A worker learns of its share when a router asks for
// it, and refuses what it has no room for (`NO_ROOM`), saying how many shards it could hold.
//
// Invariants
//   WR1  What a worker refused it is not asked for again before a while has passed, longer after every refusal.
//   WR2  A worker is planned with no more shards than it said that it has room for, until then.

import type { Clock } from '../../lib/actor/actor.js'
import { NO_ROOM, sized } from '../../lib/compute/memory-room.js'
import type { ClusterError } from '../../lib/errors.js'

const FIRST_WAIT_MS = 5_000
const LAST_WAIT_MS = 300_000

interface Refusal {
  readonly worker: string
  readonly asked: ReadonlySet<string>
  readonly most: number // shards that it has room for
  readonly shardBytes: number
  readonly spareBytes: number // beside that many
  readonly because: string
  readonly waitMs: number
  readonly isOver: boolean // it may be asked again
  readonly forget: () => void
}

export interface WorkerRooms {
  /** Shards that it has room for; undefined: it never said. By incarnation, as all here. */
  most(incarnation: string): number | undefined
  hasRefused(incarnation: string, shards: readonly number[]): boolean
  /** Whether a worker's error says that it has no room for the shards; if so it is remembered. */
  refused(
    worker: { readonly id: string; readonly incarnation: string },
    asked: readonly number[],
    error: ClusterError,
  ): boolean
  /** It holds that many. */
  accepted(incarnation: string, numShards: number): void
  /** Forgets all other workers. */
  keep(incarnations: ReadonlySet<string>): void
  /** Why shards have no worker, in one line; undefined where no worker lacked room. */
  explain(shards: readonly number[]): string | undefined
  stop(): void
}

/** `onOver` hears that a worker may be asked again. */
export function createWorkerRooms(clock: Pick<Clock, 'after'>, onOver: () => void): WorkerRooms {
  const refusals = new Map<string, Refusal>()
  const current = (incarnation: string): Refusal | undefined => {
    const refusal = refusals.get(incarnation)
    return refusal?.isOver === false ? refusal : undefined
  }
  const forget = (incarnation: string): void => {
    refusals.get(incarnation)?.forget()
    refusals.delete(incarnation)
  }

  return {
    most: (incarnation) => current(incarnation)?.most,
    hasRefused: (incarnation, shards) => current(incarnation)?.asked.has(shards.join()) === true,
    refused: ({ id, incarnation }, asked, { details }) => {
      if (details.reason !== NO_ROOM) return false
      const before = refusals.get(incarnation)
      before?.forget()
      const now = current(incarnation)
      const waitMs = now?.waitMs ?? Math.min(LAST_WAIT_MS, 2 * (before?.waitMs ?? FIRST_WAIT_MS / 2))
      const said = numberOf(details.mostShards) ?? asked.length - 1
      refusals.set(incarnation, {
        worker: id,
        asked: new Set([...(now?.asked ?? []), asked.join()]),
        most: Math.max(0, Math.min(said, asked.length - 1, now?.most ?? Infinity)),
        shardBytes: numberOf(details.shardBytes) ?? 0,
        spareBytes: numberOf(details.spareBytes) ?? 0,
        because: details.because ?? 'it says so',
        waitMs,
        isOver: false,
        forget: clock.after(waitMs, () => {
          const refusal = refusals.get(incarnation)
          if (refusal !== undefined) refusals.set(incarnation, { ...refusal, isOver: true })
          onOver()
        }),
      })
      return true
    },
    accepted: (incarnation, numShards) => {
      if (numShards > (refusals.get(incarnation)?.most ?? Infinity)) forget(incarnation)
    },
    keep: (incarnations) => {
      for (const incarnation of refusals.keys()) if (!incarnations.has(incarnation)) forget(incarnation)
    },
    explain: (shards) => {
      const [best] = [...refusals.values()].sort((a, b) => b.spareBytes - a.spareBytes)
      if (best === undefined || shards.length === 0) return undefined
      const { worker, most, shardBytes, spareBytes, because } = best
      const which = shards.length === 1 ? `shard ${shards.join()} has` : `shards ${shards.join(', ')} have`
      return (
        `${which} no expert worker with room: each wants ${sized(shardBytes)}; most is left on ${worker}, ` +
        `${sized(spareBytes)} beside ${most} shards (${because}); add expert workers or memory`
      )
    },
    stop: () => [...refusals.keys()].forEach(forget),
  }
}

function numberOf(text: string | undefined): number | undefined {
  const value = Number(text)
  return text === undefined || !Number.isFinite(value) || value < 0 ? undefined : value
}
