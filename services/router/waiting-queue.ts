// Who is admitted next to an attention worker: by class first, in a class by fair share of service between tenants.
//
// The share is kept by a virtual token counter per tenant ("Fairness in Serving Large Language Models", Sheng et al.,
// OSDI 2024): what a tenant was served in prompt and output tokens. The waiting tenant with the least is next; one that
// comes back from having nothing to wait for starts at the virtual time, so that idling saves nothing up.
//
// Invariants
//   F1  A higher class goes first. Who waits in a class for PROMOTE_AFTER_MS moves up one: nobody starves. Of each tenant
//       one at a time: a flood of low requests never becomes a flood of high ones.
//   F2  Two tenants of a class that wait all the while differ in service by a request's worth or two, however much they ask.
//   F3  A tenant's sequences of one class go in the order in which they came.
//   F4  Sequences that ran before go to the front of their class.

import type { Priority } from './engine.js'
import { numOutput, type Sequence } from './sequence.js'

export const PRIORITIES: readonly Priority[] = ['high', 'normal', 'low']
export const PROMOTE_AFTER_MS = 10_000
const OUTPUT_WEIGHT = 2 // an output token costs about two of a prompt, as in the paper
const MAX_IDLE_TENANTS = 1024

export interface WaitingQueue {
  readonly size: number
  readonly sequences: readonly Sequence[] // in no order that counts
  has(sequence: Sequence): boolean
  add(sequence: Sequence, nowMs: number): void
  /** At the front of their classes, in this order. */
  putBack(sequences: readonly Sequence[], nowMs: number): void
  /** Who is next; it stays until it is taken. */
  head(nowMs: number): Sequence | undefined
  /** Takes the head. */
  take(head: Sequence): void
  /** The sequence's tenant was served output tokens. */
  served(sequence: Sequence, numTokens: number): void
  remove(sequence: Sequence): void
  /** Everything, in the order of the classes. */
  takeAll(): Sequence[]
}

interface Entry {
  readonly sequence: Sequence
  readonly sinceMs: number
  readonly isPromoted?: boolean
}

export function createWaitingQueue(): WaitingQueue {
  const classes = { high: createClass(), normal: createClass(), low: createClass() }
  const members = new Set<Sequence>()

  const promote = (from: ServiceClass, to: Priority, nowMs: number): void => {
    const target = classes[to]
    for (const sequence of from.takeOlder(nowMs - PROMOTE_AFTER_MS, target.hasPromoted)) {
      sequence.priority = to
      target.add({ sequence, sinceMs: nowMs, isPromoted: true })
    }
  }

  return {
    get size() {
      return members.size
    },
    get sequences() {
      return [...members]
    },
    has: (sequence) => members.has(sequence),
    add: (sequence, nowMs) => {
      members.add(sequence)
      sequence.waitsSinceMs ??= nowMs
      const entry = { sequence, sinceMs: nowMs }
      if (numOutput(sequence) > 0) classes[sequence.priority].front.push(entry)
      else classes[sequence.priority].add(entry)
    },
    putBack: (sequences, nowMs) => {
      for (const sequence of [...sequences].reverse()) {
        members.add(sequence)
        sequence.waitsSinceMs ??= nowMs
        classes[sequence.priority].front.unshift({ sequence, sinceMs: nowMs })
      }
    },
    head: (nowMs) => {
      if (members.size === 0) return undefined
      promote(classes.normal, 'high', nowMs)
      promote(classes.low, 'normal', nowMs)
      for (const priority of PRIORITIES) {
        const head = classes[priority].head()
        if (head !== undefined) return head
      }
      return undefined
    },
    take: (head) => {
      members.delete(head)
      head.waitsSinceMs = undefined
      classes[head.priority].take(head)
    },
    served: ({ priority, tenant }, numTokens) => classes[priority].charge(tenant, OUTPUT_WEIGHT * numTokens),
    remove: (sequence) => {
      if (members.delete(sequence)) classes[sequence.priority].remove(sequence)
    },
    takeAll: () => {
      members.clear()
      return PRIORITIES.flatMap((priority) => classes[priority].takeAll())
    },
  }
}

type ServiceClass = ReturnType<typeof createClass>

/** The waiting sequences of one class. */
function createClass() {
  const front: Entry[] = []
  const tenants = new Map<string, Entry[]>() // those that wait
  const promoted = new Set<string>() // tenants with a waiting one from the class below
  const counters = new Map<string, number>() // service of a tenant
  let virtualTime = 0 // service of the tenant that was admitted last, before that

  const counterOf = (tenant: string): number => counters.get(tenant) ?? virtualTime
  const charge = (tenant: string, service: number): void => void counters.set(tenant, counterOf(tenant) + service)

  /** The waiting tenant with the least service; of equals, who has waited longest. */
  const next = (): Entry | undefined => {
    let least: string | undefined
    for (const tenant of tenants.keys()) {
      if (least === undefined || counterOf(tenant) < counterOf(least)) least = tenant
    }
    return least === undefined ? undefined : tenants.get(least)?.[0]
  }

  /** A tenant that is forgotten loses nothing: when it comes again it would start at the virtual time anyway. */
  const forgetIdle = (): void => {
    if (counters.size < MAX_IDLE_TENANTS) return
    for (const [tenant, service] of counters) {
      if (service <= virtualTime && !tenants.has(tenant)) counters.delete(tenant)
    }
  }

  /** Takes a sequence out; false where it is not in its tenant's line. */
  const leave = (sequence: Sequence): boolean => {
    const { tenant } = sequence
    const entries = tenants.get(tenant) ?? []
    const at = entries.findIndex((entry) => entry.sequence === sequence)
    if (at < 0) return false
    if (entries.splice(at, 1)[0]?.isPromoted === true) promoted.delete(tenant)
    if (entries.length === 0) tenants.delete(tenant)
    return true
  }

  const leaveFront = (sequence: Sequence): boolean => {
    const at = front.findIndex((entry) => entry.sequence === sequence)
    if (at >= 0) front.splice(at, 1)
    return at >= 0
  }

  return {
    front,
    charge,
    hasPromoted: (tenant: string): boolean => promoted.has(tenant),
    add: (entry: Entry): void => {
      const { tenant } = entry.sequence
      if (entry.isPromoted === true) promoted.add(tenant)
      const entries = tenants.get(tenant)
      if (entries !== undefined) {
        entries.push(entry)
        return
      }
      forgetIdle()
      counters.set(tenant, Math.max(counterOf(tenant), virtualTime))
      tenants.set(tenant, [entry])
    },
    head: (): Sequence | undefined => (front[0] ?? next())?.sequence,
    take: (head: Sequence): void => {
      if (leaveFront(head) || !leave(head)) return
      virtualTime = Math.max(virtualTime, counterOf(head.tenant))
      charge(head.tenant, head.tokens.length)
    },
    remove: (sequence: Sequence): void => void (leaveFront(sequence) || leave(sequence)),
    /** Takes those that came first of their tenants and have waited since `untilMs`, but for the tenants in `except`. */
    takeOlder: (untilMs: number, except: (tenant: string) => boolean): Sequence[] => {
      const heads = [...front, ...[...tenants.values()].flatMap((entries) => entries.slice(0, 1))]
      const older = heads.filter(({ sinceMs, sequence }) => sinceMs <= untilMs && !except(sequence.tenant))
      return older.map(({ sequence }) => sequence).filter((sequence) => leaveFront(sequence) || leave(sequence))
    },
    takeAll: (): Sequence[] => {
      const all = [...front, ...[...tenants.values()].flat()].map(({ sequence }) => sequence)
      front.length = 0
      tenants.clear()
      promoted.clear()
      return all
    },
  }
}
