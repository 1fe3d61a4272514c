// Which device classes serve: one for attention, one for experts. A process computes exactly, but every class has bits of
// its own; workers of others are held in reserve.
//
// Invariants
//   D1  All that a request is computed by is of the classes that it was accepted with: when they change, what is open ends
//       with a typed error, and every cache begins anew.
//   D2  A class serves as long as it has a worker, and its expert workers do not all say that they cannot hold the model.
//       The reserve takes over when that has been so for a while and no router has an open request, which each ends after
//       its patience.
//   D3  All routers go by the same classes (`agreement.ts`).

import { ClusterError } from '../../lib/errors.js'
import type { Heartbeat } from '../../lib/wire/messages.js'
import { createAgreement, type Agreed, type Agreement } from './agreement.js'
import type { Membership } from './membership.js'

export const LOST_AFTER_MS = 5_000 // a process that crashed is started again meanwhile
export const PATIENCE_MS = 30_000

const ROLES = ['attention', 'expert-worker'] as const
type ComputeRole = (typeof ROLES)[number]

/** By role; absent: no worker of it has come yet. */
export interface Classes {
  readonly attention?: string | undefined
  readonly experts?: string | undefined
}

export interface DeviceClasses {
  readonly agreed: Agreed<Classes> | undefined
  readonly current: Classes
  /** One name where both are of one class, else both. */
  name(this: void): string
  /** Same checkpoint, and of the class that serves. */
  accepts(this: void, worker: Heartbeat): boolean
  /** It would serve but for its class. */
  standsBy(this: void, worker: Heartbeat): boolean
  /** Ids of those that stand by, in whatever state. */
  reserve(role?: ComputeRole): readonly string[]
  /** Throws `unavailable` where a class has no worker any more and others stand by. */
  checkServing(): void
  observe(heartbeat: Heartbeat): void
  /** Call it about once a second. */
  tick(nowMs: number): void
}

export interface DeviceClassesOptions {
  readonly membership: Pick<Membership, 'members' | 'live'>
  readonly fingerprint: string // of checkpoint and weight format
  /** Experts are missing that the workers which serve tried to hold in vain. */
  readonly isStuck: () => boolean
  readonly isLead: () => boolean
  readonly now: () => number
  readonly numOpen: () => number // requests of this router that have not ended
  /** Other classes serve from now on; nothing that was begun goes on. */
  readonly onChange: (classes: string) => void
  /** What is open has waited long enough for its class. */
  readonly onGivenUp: (error: ClusterError) => void
}

export function createDeviceClasses(options: DeviceClassesOptions): DeviceClasses {
  const { membership, fingerprint } = options
  const lostSince = new Map<ComputeRole, number>()
  let seen: Classes = {} // what the first worker of each role was
  let current: Classes = {}
  let lost: ComputeRole | undefined

  const update = (): void => {
    const before = current
    current = { ...seen, ...agreement.current?.value }
    const isOther = (was: string | undefined, is: string | undefined): boolean => was !== undefined && was !== is
    if (isOther(before.attention, current.attention) || isOther(before.experts, current.experts)) {
      lostSince.clear()
      lost = undefined
      options.onChange(nameOf(current))
    }
  }
  const agreement: Agreement<Classes> = createAgreement({ isLead: options.isLead, now: options.now, onChange: update })

  const classOf = (role: string): string | undefined => (role === 'attention' ? current.attention : current.experts)
  const isOurs = (worker: Heartbeat): boolean => worker.fingerprint === fingerprint
  const accepts = (worker: Heartbeat): boolean => isOurs(worker) && worker.deviceClass === classOf(worker.role)
  const standsBy = (worker: Heartbeat): boolean =>
    isOurs(worker) && classOf(worker.role) !== undefined && !accepts(worker)

  const isPresent = (role: ComputeRole): boolean =>
    membership.members(role).some(({ heartbeat, duty }) => duty !== 'none' && accepts(heartbeat))
  const serves = (role: ComputeRole): boolean => isPresent(role) && (role === 'attention' || !options.isStuck())

  /** The class that has most workers in reserve, of equal ones the first by name. */
  const standby = (role: ComputeRole): string | undefined => {
    const classes = membership.live(role).flatMap((worker) => (standsBy(worker) ? [worker.deviceClass] : []))
    const sizeOf = (name: string): number => classes.filter((one) => one === name).length
    return [...new Set(classes)].sort((a, b) => sizeOf(b) - sizeOf(a) || (a < b ? -1 : 1))[0]
  }

  const isQuiet = (): boolean =>
    options.numOpen() === 0 && membership.live('router').every(({ load: { open = 0 } }) => open === 0)

  const failure = (role: ComputeRole): ClusterError => {
    const what = isPresent(role) ? `what is there of it cannot hold the experts` : `no ${role} of it is there`
    const message = `device class ${classOf(role) ?? 'none'}: ${what}, and another class would give other bits`
    return new ClusterError('unavailable', message, { details: { reason: 'DEVICE_CLASS_LOST', role } })
  }

  return {
    get agreed() {
      return agreement.current
    },
    get current() {
      return current
    },
    name: () => nameOf(current),
    accepts,
    standsBy,
    reserve: (only) =>
      ROLES.filter((role) => only === undefined || role === only)
        .flatMap((role) => membership.members(role))
        .flatMap(({ heartbeat }) => (standsBy(heartbeat) ? [heartbeat.id] : [])),
    checkServing: () => {
      if (lost !== undefined) throw failure(lost)
    },
    observe: (heartbeat) => {
      if (!isOurs(heartbeat)) return
      if (heartbeat.role === 'router' && heartbeat.classes !== undefined) {
        const { version, ...value } = heartbeat.classes
        agreement.heard({ version, value })
      }
      if (heartbeat.role === 'attention' && seen.attention === undefined) {
        seen = { ...seen, attention: heartbeat.deviceClass }
        update()
      }
      if (heartbeat.role === 'expert-worker' && seen.experts === undefined) {
        seen = { ...seen, experts: heartbeat.deviceClass }
        update()
      }
    },
    tick: (nowMs) => {
      for (const role of ROLES) {
        if (classOf(role) === undefined || serves(role)) lostSince.delete(role)
        else if (!lostSince.has(role)) lostSince.set(role, nowMs)
      }
      const since = (role: ComputeRole): number => nowMs - (lostSince.get(role) ?? nowMs)
      const waitMs = (role: ComputeRole): number => (isPresent(role) ? PATIENCE_MS : LOST_AFTER_MS)
      lost = ROLES.find((role) => since(role) >= waitMs(role) && standby(role) !== undefined)
      if (lost === undefined) return agreement.propose(current)
      if (since(lost) >= PATIENCE_MS) options.onGivenUp(failure(lost))
      if (!isQuiet()) return
      agreement.propose(
        lost === 'attention' ? { ...current, attention: standby(lost) } : { ...current, experts: standby(lost) },
      )
    },
  }
}

const nameOf = ({ attention, experts }: Classes): string => {
  if (attention === undefined || experts === undefined) return attention ?? experts ?? 'none'
  return attention === experts ? attention : `${attention}+${experts}`
}
