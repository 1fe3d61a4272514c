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
//   L6  Routers that see the same workers come to the same plan: each places anew what they agreed on (`agreement.ts`).
//   L7  What a worker has no room for goes elsewhere, or is told of in one line (`worker-rooms.ts`).

import type { ActorSystem } from '../../lib/actor/actor.js'
import type { Logger } from '../../lib/config/service.js'
import { pause } from '../../lib/actor/until.js'
import { ClusterError } from '../../lib/errors.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import { createAgreement, type Agreed } from './agreement.js'
import { askToPlace, ping } from './ask-to-place.js'
import type { Membership } from './membership.js'
import { emptyPlan, holdersOf, place, type PlaceableWorker, type Placement, type Plan } from './placement.js'
import { haveFailed, newPartner, refusalOf, shardsOf, type Partner } from './partner.js'
import { createReplicaOrder } from './replica-order.js'
import { createTableUses, type HeldTable } from './table-uses.js'
import { createWorkerRooms } from './worker-rooms.js'

const RETRY_MS = 200
const REFUSED_RETRY_MS = 5_000

export interface PlacementManager {
  readonly epoch: number
  readonly table: Placement
  readonly replicas: number // asked for
  /** Holders of the shard that has the fewest, draining ones left out. */
  readonly copies: number
  /** What routers agreed on, for this router's heartbeats. */
  readonly agreed: Agreed<Plan> | undefined
  readonly plan: Plan
  readonly workers: readonly PlaceableWorker[] // for whom that is
  /** Why a worker cannot hold what it was asked for, where the model is at fault. */
  readonly refusal: ClusterError | undefined
  /** Whether every worker holds what the plan gives it. */
  readonly isSettled: boolean
  /** Whether a shard is nowhere, and each worker that was to hold it said that it cannot. */
  readonly isStuck: boolean
  /** Which shards have no worker with room for them, and why; undefined where there are none. */
  readonly lack: string | undefined
  /** The table for one step; its workers keep what it names until it is released. */
  hold(): HeldTable
  /** Whom the next step asks for each shard, and who stands by. */
  order(table: Placement, isSlow?: (worker: string) => boolean): string[][]
  /** What another router goes by. */
  heard(agreed: Agreed<Plan> | undefined): void
  /** Goes by another plan, and says so to all routers, where this one leads. */
  adopt(plan: Plan): void
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
  readonly standsBy: (worker: Heartbeat) => boolean // of another class: it is there, and is given nothing
  readonly isLead: () => boolean
  readonly loads: () => readonly number[] | undefined // by shard, where they are known
  readonly onAgreed: () => void // tell the others
}

export function createPlacementManager(options: PlacementOptions): PlacementManager {
  const { system, membership, numShards } = options
  const { clock } = system
  const nothing = emptyPlan(numShards)
  const partners = new Map<string, Partner>() // by incarnation
  let { replicas } = options
  let table: Placement = nothing.main
  let plan = nothing
  let planned: Placement = nothing.main // whom the plan gives each shard
  let workers: readonly PlaceableWorker[] = []
  let plannedFor = ''
  let told: string | undefined // of the last lack of room
  let epoch = 0
  let isStopped = false

  /** Brings `partners` up to date; returns those that heartbeat, whatever their state. */
  const meet = (): readonly Partner[] => {
    const isKnown = (worker: Heartbeat): boolean => options.accepts(worker) || options.standsBy(worker)
    const members = membership.members('expert-worker').filter(({ heartbeat }) => isKnown(heartbeat))
    const known = new Set(members.map(({ heartbeat }) => heartbeat.incarnation))
    for (const incarnation of partners.keys()) if (!known.has(incarnation)) partners.delete(incarnation)
    rooms.keep(known)
    return members.map(({ heartbeat, duty }) => {
      const partner = partners.get(heartbeat.incarnation) ?? newPartner(heartbeat, duty)
      partners.set(heartbeat.incarnation, partner)
      partner.duty = duty
      partner.isReserve = !options.accepts(heartbeat)
      return partner
    })
  }

  const reconcile = (): void => {
    if (isStopped) return
    const met = meet()
    const draining = met.filter(({ duty }) => duty === 'draining')
    const able = met.filter(({ duty, isSilent }) => duty === 'ready' && !isSilent)
    const reserve = able.filter(({ isReserve }) => isReserve)
    const ready = able.filter(({ isReserve }) => !isReserve)
    const wanted = epoch === 0 ? options.minWorkers - reserve.length : 1
    const canPlace = ready.length >= Math.max(1, wanted)
    if (canPlace) {
      makePlan(ready.map(({ id, node, incarnation }) => ({ id, node, most: rooms.most(incarnation) })))
      publish(nextTable())
      agreement.propose(plan)
    }
    for (const partner of [...(canPlace ? ready : []), ...reserve, ...draining]) settle(partner)
  }

  /** Only other workers, another agreement or number of replicas makes another plan: it does not waver meanwhile. */
  const makePlan = (ready: readonly PlaceableWorker[]): void => {
    const wantedFor = JSON.stringify([replicas, ready, agreement.current])
    if (wantedFor === plannedFor) return
    plannedFor = wantedFor
    workers = ready
    const current = agreement.current?.value ?? (plan === nothing ? heldAlready() : plan)
    plan = place({ current, workers, numShards, replicas })
    planned = holdersOf(plan)
    const lack = lackOf()
    if (lack !== undefined && lack !== told) options.logger.error({}, (told = lack))
  }

  const lackOf = (): string | undefined =>
    rooms.explain(planned.flatMap((holders, shard) => (holders.length === 0 ? [shard] : [])))

  /** What the workers were given by another router, or by this one in an earlier life. */
  const heldAlready = (): Plan => {
    const live = membership.live('expert-worker').filter(options.accepts)
    const main = nothing.main.map((_, shard) => live.flatMap(({ id, shards }) => (shards.includes(shard) ? [id] : [])))
    return { ...nothing, main }
  }

  const confirmedBy = (shard: number): readonly string[] =>
    [...partners.values()]
      .filter(({ duty, isReserve, holds }) => duty !== 'none' && !isReserve && holds.includes(shard))
      .map(({ id }) => id)

  const nextTable = (): Placement =>
    planned.map((wanted, shard) => {
      const holders = confirmedBy(shard)
      const confirmed = wanted.filter((worker) => holders.includes(worker))
      if (confirmed.length === wanted.length) return confirmed
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
    const { id, incarnation, holds, isReserve } = partner
    if (partner.isAsked) return
    const named = isReserve ? [] : union(shardsOf(planned, id), shardsOf(table, id))
    const wanted = (uses.isOlderInUse() ? union(named, holds) : named).sort((a, b) => a - b)
    const isSettled = wanted.length === holds.length && wanted.every((shard) => holds.includes(shard))
    if ((!isSettled || partner.isStale) && !rooms.hasRefused(incarnation, wanted)) void ask(partner, wanted)
  }

  const ask = async (partner: Partner, shards: readonly number[]): Promise<void> => {
    const { router, fingerprint } = options
    partner.isAsked = true
    partner.isStale = false
    partner.holds = partner.holds.filter((shard) => shards.includes(shard)) // it may drop the others from now on
    try {
      partner.holds = await askToPlace(system, partner.id, { router, tableEpoch: epoch, fingerprint, shards })
      Object.assign(partner, { isAsked: false, hasFailed: false, refusal: undefined })
      rooms.accepted(partner.incarnation, shards.length)
    } catch (thrown) {
      const error = ClusterError.from(thrown)
      const { code, message, details } = error
      if (!isStopped) options.logger.warn({ worker: partner.id, error: message }, 'a worker did not take its shards')
      partner.isStale = partner.hasFailed = true
      partner.isSilent = code === 'unavailable' && details.reason !== 'DISCONNECTED' // that is our own silence
      partner.refusal = refusalOf(partner, error)
      if (partner.isSilent) void awaitAnswer(partner)
      else if (rooms.refused(partner, shards, error)) partner.isAsked = false
      else retry(partner)
    }
    reconcile()
  }

  const retry = (partner: Partner): void => {
    clock.after(partner.refusal === undefined ? RETRY_MS : REFUSED_RETRY_MS, () => {
      partner.isAsked = false
      reconcile()
    })
  }

  const isThere = (holders: readonly string[]): boolean => holders.some((worker) => membership.serves(worker))

  const isKnown = (partner: Partner): boolean => !isStopped && [...partners.values()].includes(partner)

  const awaitAnswer = async (partner: Partner): Promise<void> => {
    while (isKnown(partner) && !(await ping(system, partner.id))) {
      await pause(clock, RETRY_MS)
    }
    partner.isSilent = false
    partner.isAsked = false
    reconcile()
  }

  const agreement = createAgreement<Plan>({
    isLead: options.isLead,
    now: () => clock.now(),
    onChange: () => {
      options.onAgreed()
      reconcile()
    },
  })
  const rooms = createWorkerRooms(clock, () => reconcile())
  const replicaOrder = createReplicaOrder()
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
    get agreed() {
      return agreement.current
    },
    get plan() {
      return plan
    },
    get workers() {
      return workers
    },
    get refusal() {
      return [...partners.values()].find(({ refusal }) => refusal !== undefined)?.refusal
    },
    get isSettled() {
      const isAsked = [...partners.values()].some((partner) => partner.isAsked)
      return epoch > 0 && !isAsked && JSON.stringify(table) === JSON.stringify(planned)
    },
    get isStuck() {
      return epoch > 0 && table.some((holders, shard) => !isThere(holders) && haveFailed(planned[shard]!, partners))
    },
    get lack() {
      return lackOf()
    },
    hold: uses.hold,
    order: (of, isSlow = () => false) =>
      replicaOrder.order(of, { isLive: (worker) => membership.isLive(worker), isSlow }, options.loads()),
    heard: (agreed) => {
      const isOurs = agreed?.value.main.length === numShards && agreed.value.extra.length === numShards
      if (isOurs) agreement.heard(agreed)
    },
    adopt: (next) => agreement.propose(next),
    isComplete: () => epoch > 0 && table.every(isThere),
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
      rooms.stop()
    },
  }
}

const union = <T>(first: readonly T[], second: readonly T[]): T[] => [...new Set([...first, ...second])]
