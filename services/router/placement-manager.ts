// Keeps the routing table in line with the expert workers: plans who holds what, has workers load what they lack,
// publishes a new table (a higher epoch) with every confirmation, then lets workers drop what moved away.
//
// Invariants
//   L1  A worker is in the table for a shard only after it confirmed that it holds it.
//   L2  The epoch rises with every published table.
//   L3  A worker is asked for one thing at a time, and one that takes long holds up no other.
//   L4  Whoever holds a shard stays in the table for it until its successors have confirmed, and may drop it only when no
//       step under way was sent with a table that named it. So a step finds every shard where its table says, also while
//       the last holder drains.
//   L5  The plan leaves out a worker that answers no ping, until it does.

import type { ActorSystem } from '../../lib/actor/actor.js'
import type { Logger } from '../../lib/config/service.js'
import { pause } from '../../lib/actor/until.js'
import { ClusterError } from '../../lib/errors.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import type { Duty, Membership } from './membership.js'
import { askToPlace, ping } from './ask-to-place.js'
import { place, type Placement } from './placement.js'
import { createTableUses, type HeldTable } from './table-uses.js'

const RETRY_MS = 200

export interface PlacementManager {
  readonly epoch: number
  readonly table: Placement
  readonly replicas: number // asked for
  /** Holders of the shard that has the fewest, draining ones left out. */
  readonly copies: number
  /** The table for one step; its workers keep what it names until it is released. */
  hold(): HeldTable
  /** Whether every shard has a replica on a live worker. */
  isComplete(): boolean
  reconcile(): void
  setReplicas(replicas: number): void
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

/** What is known of one incarnation of a worker. */
interface Partner {
  readonly id: string
  duty: Duty
  holds: readonly number[] // of the shards that it was last asked for, those that it confirmed
  isAsked: boolean
  isStale: boolean // what it holds for us is not known for certain: ask, whatever `holds` says
  isSilent: boolean
}

export function createPlacementManager(options: PlacementOptions): PlacementManager {
  const { system, membership, numShards } = options
  const { clock } = system
  const nobody: Placement = Array.from({ length: numShards }, () => [])
  const partners = new Map<string, Partner>() // by incarnation
  let { replicas } = options
  let table = nobody
  let plan = nobody
  let plannedFor = ''
  let epoch = 0
  let isStopped = false

  /** Brings `partners` up to date; returns those that heartbeat, whatever their state. */
  const meet = (): readonly Partner[] => {
    const members = membership.members('expert-worker').filter(({ heartbeat }) => options.accepts(heartbeat))
    const known = new Set(members.map(({ heartbeat }) => heartbeat.incarnation))
    for (const incarnation of partners.keys()) if (!known.has(incarnation)) partners.delete(incarnation)
    return members.map(({ heartbeat: { id, incarnation }, duty }) => {
      const partner = partners.get(incarnation) ?? newPartner(id, duty)
      partners.set(incarnation, partner)
      partner.duty = duty
      return partner
    })
  }

  const reconcile = (): void => {
    if (isStopped) return
    const met = meet()
    const draining = met.filter(({ duty }) => duty === 'draining')
    const ready = met.filter(({ duty, isSilent }) => duty === 'ready' && !isSilent)
    const canPlace = ready.length >= (epoch === 0 ? options.minWorkers : 1)
    if (canPlace) {
      makePlan(ready.map(({ id }) => id))
      publish(nextTable())
    }
    for (const partner of canPlace ? [...ready, ...draining] : draining) settle(partner)
  }

  /** Only another set of workers or another number of replicas makes another plan: it does not waver meanwhile. */
  const makePlan = (workers: readonly string[]): void => {
    const wantedFor = `${replicas} ${workers.join(' ')}`
    if (wantedFor === plannedFor) return
    plannedFor = wantedFor
    const held = heldAlready()
    const current = plan.map((planned, shard) =>
      union(union(holdersOf(shard), held[shard] ?? []), union(planned, table[shard] ?? [])),
    )
    plan = place({ current, workers, numShards, replicas })
  }

  /** What the workers were given by another router, or by this one in an earlier life. */
  const heldAlready = (): Placement => {
    const workers = membership.live('expert-worker')
    return nobody.map((_, shard) => workers.filter(({ shards }) => shards.includes(shard)).map(({ id }) => id))
  }

  const holdersOf = (shard: number): readonly string[] =>
    [...partners.values()].filter(({ duty, holds }) => duty !== 'none' && holds.includes(shard)).map(({ id }) => id)

  const nextTable = (): Placement =>
    plan.map((planned, shard) => {
      const holders = holdersOf(shard)
      const confirmed = planned.filter((worker) => holders.includes(worker))
      if (confirmed.length === planned.length) return confirmed
      return union(confirmed, holders) // L4
    })

  const publish = (next: Placement): void => {
    if (epoch > 0 && JSON.stringify(next) === JSON.stringify(table)) return
    table = next
    epoch += 1
    options.logger.info({ epoch, table: next }, 'routing table')
  }

  /** Has a worker load what the plan gives it, and drop what neither plan nor table names. */
  const settle = (partner: Partner): void => {
    const { id, holds } = partner
    if (partner.isAsked) return
    const named = union(shardsOf(plan, id), shardsOf(table, id))
    const wanted = (uses.isOlderInUse() ? union(named, holds) : named).sort((a, b) => a - b)
    const isSettled = wanted.length === holds.length && wanted.every((shard) => holds.includes(shard))
    if (!isSettled || partner.isStale) void ask(partner, wanted)
  }

  const ask = async (partner: Partner, shards: readonly number[]): Promise<void> => {
    const { router, fingerprint } = options
    partner.isAsked = true
    partner.isStale = false
    partner.holds = partner.holds.filter((shard) => shards.includes(shard)) // it may drop the others from now on
    try {
      partner.holds = await askToPlace(system, partner.id, { router, tableEpoch: epoch, fingerprint, shards })
      partner.isAsked = false
    } catch (error) {
      const { code, message, details } = ClusterError.from(error)
      options.logger.warn({ worker: partner.id, error: message }, 'a worker did not take its shards')
      partner.isStale = true
      partner.isSilent = code === 'unavailable' && details.reason !== 'DISCONNECTED' // that is our own silence
      if (partner.isSilent) void awaitAnswer(partner)
      else retry(partner)
    }
    reconcile()
  }

  const retry = (partner: Partner): void => {
    clock.after(RETRY_MS, () => {
      partner.isAsked = false
      reconcile()
    })
  }

  const isKnown = (partner: Partner): boolean => !isStopped && [...partners.values()].includes(partner)

  const awaitAnswer = async (partner: Partner): Promise<void> => {
    while (isKnown(partner) && !(await ping(system, partner.id))) {
      await pause(clock, RETRY_MS)
    }
    partner.isSilent = false
    partner.isAsked = false
    reconcile()
  }

  const uses = createTableUses(() => ({ table, epoch }), reconcile)
  membership.onChange(reconcile)

  return {
    get epoch() {
      return epoch
    },
    get table() {
      return table
    },
    get replicas() {
      return replicas
    },
    get copies() {
      return Math.min(...table.map((holders) => holders.filter((worker) => membership.isLive(worker)).length))
    },
    hold: uses.hold,
    isComplete: () => epoch > 0 && table.every((holders) => holders.some((worker) => membership.serves(worker))),
    reconcile,
    setReplicas: (count) => {
      replicas = count
      reconcile()
    },
    distrust: () => {
      for (const partner of partners.values()) partner.isStale = true
      reconcile()
    },
    stop: () => {
      isStopped = true
    },
  }
}

const newPartner = (id: string, duty: Duty): Partner => ({
  id,
  duty,
  holds: [],
  isAsked: false,
  isStale: true,
  isSilent: false,
})

const shardsOf = (placement: Placement, worker: string): number[] =>
  placement.flatMap((holders, shard) => (holders.includes(worker) ? [shard] : []))

const union = <T>(first: readonly T[], second: readonly T[]): T[] => [...new Set([...first, ...second])]
