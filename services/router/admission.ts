// Whether a request is let in. What is refused here costs nobody anything and may be tried again after a while.
//
// Invariants
//   A1  Waiting sequences (parked ones and those without a worker included) are bounded by `maxWaiting`; a tenant below
//       its equal part of that is still let in above it, up to twice the bound: nobody's flood closes the door for others.
//   A2  Who cannot be admitted before its deadline, at half the wait that the queue predicts, is refused at once.

import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { Priority } from './engine.js'
import type { Sequence } from './sequence.js'
import { PRIORITIES } from './waiting-queue.js'

const LEAST_RETRY_MS = 250
const MOST_RETRY_MS = 30_000
const CAUTION = 0.5 // part of the predicted wait that is believed

export interface Applicant {
  readonly numSequences: number
  readonly tenant: string
  readonly priority: Priority
  readonly deadlineMs: number | undefined
}

type Waiting = Pick<Sequence, 'tenant' | 'priority'>

/** What waits, and how fast it is admitted. */
export interface Backlog {
  waiting(): readonly Waiting[]
  msToAdmit(count: number): number | undefined
}

export interface AdmissionOptions {
  readonly backlog: Backlog
  readonly maxWaiting: number
  readonly clock: Clock
}

export interface Admission {
  /** Throws `resource_exhausted` for a request that is not let in. */
  check(applicant: Applicant): void
  /** It was let in, but is not in the backlog until `hasBegun`: it is journaled first. */
  note(applicant: Applicant, hasBegun: () => boolean): void
}

export function createAdmission({ backlog, maxWaiting, clock }: AdmissionOptions): Admission {
  const beginning = new Map<Applicant, () => boolean>()

  const waitingNow = (): readonly Waiting[] => {
    for (const [applicant, hasBegun] of beginning) if (hasBegun()) beginning.delete(applicant)
    const atTheDoor = [...beginning.keys()].flatMap((one) => Array.from({ length: one.numSequences }, () => one))
    return [...backlog.waiting(), ...atTheDoor]
  }

  const retryAfterMs = (count: number): string => {
    const waitMs = backlog.msToAdmit(count) ?? LEAST_RETRY_MS
    return String(Math.round(Math.min(MOST_RETRY_MS, Math.max(LEAST_RETRY_MS, waitMs))))
  }

  const checkRoom = ({ tenant, numSequences }: Applicant, waiting: readonly Waiting[]): void => {
    const numWaiting = waiting.length
    const excess = numWaiting + numSequences - maxWaiting
    if (excess <= 0) return
    const byTenant = countByTenant(waiting)
    const own = byTenant.get(tenant) ?? 0
    const share = maxWaiting / new Set([...byTenant.keys(), tenant]).size
    if (own + numSequences <= share && excess <= maxWaiting) return
    throw new ClusterError('resource_exhausted', `queue: ${numWaiting} sequences wait of at most ${maxWaiting}`, {
      details: { reason: 'QUEUE_FULL', retryAfterMs: retryAfterMs(excess) },
    })
  }

  const checkDeadline = (applicant: Applicant, waiting: readonly Waiting[]): void => {
    if (applicant.deadlineMs === undefined || waiting.length === 0) return
    const leftMs = applicant.deadlineMs - clock.now()
    const ahead = numAhead(waiting, applicant)
    const waitMs = backlog.msToAdmit(ahead)
    if (waitMs === undefined || CAUTION * waitMs <= leftMs) return
    throw new ClusterError(
      'resource_exhausted',
      `queue: about ${Math.round(waitMs)} ms until this request begins, its deadline is in ${Math.round(leftMs)} ms`,
      { details: { reason: 'DEADLINE_UNREACHABLE', retryAfterMs: retryAfterMs(ahead) } },
    )
  }

  return {
    check: (applicant) => {
      const waiting = waitingNow()
      checkRoom(applicant, waiting)
      checkDeadline(applicant, waiting)
    },
    note: (applicant, hasBegun) => void beginning.set(applicant, hasBegun),
  }
}

function countByTenant(waiting: readonly { readonly tenant: string }[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { tenant } of waiting) counts.set(tenant, (counts.get(tenant) ?? 0) + 1)
  return counts
}

/** Sequences that are admitted before a new one: those of higher classes, its own tenant's, and of others as many each. */
function numAhead(waiting: readonly Waiting[], { priority, tenant }: Applicant): number {
  const rank = PRIORITIES.indexOf(priority)
  const numHigher = waiting.filter((other) => PRIORITIES.indexOf(other.priority) < rank).length
  const byTenant = countByTenant(waiting.filter((other) => other.priority === priority))
  const own = byTenant.get(tenant) ?? 0
  byTenant.delete(tenant)
  return [...byTenant.values()].reduce((sum, count) => sum + Math.min(count, own + 1), numHigher + own)
}
