// Keeps the routing table in line with the live expert workers: computes a placement, has the workers load what they
// lack, publishes the new table (a higher epoch), then lets them drop what moved away.
//
// Invariants
//   L1  A worker is in the table for a shard only after it confirmed that it holds it.
//   L2  The epoch rises with every published table.
//   L3  One reconciliation at a time; a change during one starts another after it.

import type { ActorSystem } from '../../lib/actor/actor.js'
import type { Logger } from '../../lib/config/service.js'
import { controlAddress } from '../../lib/actor/ask-while-alive.js'
import { ClusterError } from '../../lib/errors.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import type { Membership } from './membership.js'
import { place, type Placement } from './placement.js'

const PLACE_TIMEOUT_MS = 120_000 // a shard of a large checkpoint takes a while to load
const RETRY_MS = 200

export interface PlacementManager {
  readonly epoch: number
  readonly table: Placement
  /** Whether every shard has a replica on a live worker. */
  isComplete(): boolean
  reconcile(): void
  /** A worker lacked a shard that it had confirmed: ask every worker again. */
  distrust(): void
  stop(): void
}

export interface PlacementOptions {
  readonly system: ActorSystem
  readonly membership: Membership
  readonly logger: Logger
  readonly router: string // this router's id
  readonly fingerprint: string
  readonly numShards: number
  readonly replicas: number
  readonly minWorkers: number // the first placement waits for so many
  readonly accepts: (worker: Heartbeat) => boolean // same checkpoint, same device class
}

export function createPlacementManager(options: PlacementOptions): PlacementManager {
  const { system, membership, numShards } = options
  let table: Placement = Array.from({ length: numShards }, () => [])
  let held: ReadonlyMap<string, readonly number[]> = new Map() // incarnation → shards it confirmed
  let epoch = 0
  let isRunning = false
  let isStale = false
  let cancelRetry = (): void => undefined
  let isStopped = false

  const workers = (): readonly Heartbeat[] => membership.live('expert-worker').filter(options.accepts)

  const ask = async (worker: string, shards: readonly number[]): Promise<readonly number[]> => {
    const body = { router: options.router, tableEpoch: epoch, fingerprint: options.fingerprint, shards: [...shards] }
    const message = { kind: 'expert.place', body, replyKind: 'expert.placed' } as const
    return (await system.ask(controlAddress(worker), message, { timeoutMs: PLACE_TIMEOUT_MS })).shards
  }

  const shardsOf = (placement: Placement, worker: string): number[] =>
    placement.flatMap((holders, shard) => (holders.includes(worker) ? [shard] : []))

  /** One pass; returns whether every worker confirmed. */
  const pass = async (): Promise<boolean> => {
    const live = workers()
    if (live.length < (epoch === 0 ? options.minWorkers : 1)) return live.length > 0 || epoch > 0
    const ids = live.map((worker) => worker.id)
    const wanted = place({ current: table, workers: ids, numShards, replicas: options.replicas })
    const confirmed = new Map<string, readonly number[]>()
    const nextHeld = new Map<string, readonly number[]>()
    const results = await Promise.allSettled(
      live.map(async ({ id, incarnation }) => {
        const union = [...new Set([...shardsOf(wanted, id), ...shardsOf(table, id)])].sort((a, b) => a - b)
        const known = held.get(incarnation)
        const holds =
          known !== undefined && union.every((shard) => known.includes(shard)) ? known : await ask(id, union)
        confirmed.set(id, holds)
        nextHeld.set(incarnation, holds)
      }),
    )
    for (const result of results) if (result.status === 'rejected') warn(result.reason)
    held = nextHeld
    publish(wanted.map((holders, shard) => holders.filter((worker) => confirmed.get(worker)?.includes(shard) ?? false)))
    await trim(live, nextHeld)
    return results.every((result) => result.status === 'fulfilled')
  }

  const warn = (reason: unknown): void =>
    options.logger.warn({ error: ClusterError.from(reason).message }, 'a worker did not take its shards')

  const publish = (next: Placement): void => {
    if (JSON.stringify(next) === JSON.stringify(table) && epoch > 0) return
    table = next
    epoch += 1
    options.logger.info({ epoch, table: next }, 'routing table')
  }

  /** Lets workers drop shards that the table no longer gives them. */
  const trim = async (
    live: readonly { id: string; incarnation: string }[],
    nextHeld: Map<string, readonly number[]>,
  ): Promise<void> => {
    await Promise.allSettled(
      live.map(async ({ id, incarnation }) => {
        const kept = shardsOf(table, id)
        if ((nextHeld.get(incarnation)?.length ?? 0) > kept.length) nextHeld.set(incarnation, await ask(id, kept))
      }),
    )
  }

  const reconcile = async (): Promise<void> => {
    if (isRunning || isStopped) {
      isStale = true
      return
    }
    isRunning = true
    isStale = false
    const isDone = await pass().catch((error: unknown) => {
      warn(error)
      return false
    })
    isRunning = false
    cancelRetry()
    if (isStale) void reconcile()
    else if (!isDone) cancelRetry = system.clock.after(RETRY_MS, () => void reconcile())
  }

  membership.onChange(() => void reconcile())

  return {
    get epoch() {
      return epoch
    },
    get table() {
      return table
    },
    isComplete: () => epoch > 0 && table.every((holders) => holders.some((worker) => membership.isLive(worker))),
    reconcile: () => void reconcile(),
    distrust: () => {
      held = new Map()
      void reconcile()
    },
    stop: () => {
      isStopped = true
      cancelRetry()
    },
  }
}
