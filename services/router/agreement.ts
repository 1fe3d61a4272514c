// What all routers of a cluster go by, though each sees workers come and go in its own order: one of them says it, all
// repeat it in their heartbeats.
//
// Invariants
//   A1  The latest version holds, of equal ones the larger text: whoever has heard the same goes by the same.
//   A2  Only the lead says something new: the live router with the lowest id, once it has listened for a while.

import type { Clock } from '../../lib/actor/actor.js'
import type { Membership } from './membership.js'

const LISTEN_MS = 1_000 // four heartbeats: what others agreed on before is known by then

export interface Agreed<T> {
  readonly version: number
  readonly value: T
}

export interface Agreement<T> {
  /** Undefined before anybody has said anything. */
  readonly current: Agreed<T> | undefined
  /** From another router's heartbeat. */
  heard(agreed: Agreed<T> | undefined): void
  /** Says it where this router leads and it is new. */
  propose(value: T): void
}

export interface AgreementOptions {
  readonly isLead: () => boolean
  readonly now: () => number // milliseconds since 1970
  readonly onChange: () => void
}

export function createAgreement<T>({ isLead, now, onChange }: AgreementOptions): Agreement<T> {
  let current: Agreed<T> | undefined

  const take = (agreed: Agreed<T>): void => {
    current = agreed
    onChange()
  }

  return {
    get current() {
      return current
    },
    heard: (agreed) => {
      if (agreed === undefined || agreed.version < (current?.version ?? 0)) return
      const isLater = agreed.version > (current?.version ?? 0)
      if (isLater || JSON.stringify(agreed.value) > JSON.stringify(current?.value)) take(agreed)
    },
    propose: (value) => {
      if (!isLead() || JSON.stringify(value) === JSON.stringify(current?.value)) return
      take({ version: Math.max((current?.version ?? 0) + 1, now()), value })
    },
  }
}

/** Whether this router leads (A2). */
export function watchLead(id: string, membership: Pick<Membership, 'live'>, clock: Clock): () => boolean {
  const startedMs = clock.monotonicMs()
  return () => membership.live('router')[0]?.id === id && clock.monotonicMs() - startedMs >= LISTEN_MS
}
