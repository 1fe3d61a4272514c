// The sequences that an attention worker holds, and the room that they take.
//
// Invariants
//   H1  What a running step may still write to is given back only when the step has ended.
//   H2  What a router forgot to release (it died, or its word was lost) makes room for those that need it: sequences that
//       no step has named for a while, the oldest first. Who names one after all is told that it is not held here.

import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { SequenceState } from './sequence-state.js'

const LEAST_IDLE_MS = 10_000 // of a sequence that gives way

export interface HeldSequences {
  readonly all: ReadonlyMap<string, SequenceState>
  readonly numTokens: number
  /** Holds it; a step names it now. */
  name(id: string, state: SequenceState): void
  /** Whose it is: an incarnation of a router. */
  own(id: string, owner: string): void
  ownedBy(owner: string): readonly string[]
  forget(id: string): void
  /** Throws `resource_exhausted` where so many more tokens do not fit. */
  makeRoom(tokens: number): void
  beginStep(): void
  endStep(): void
}

export function createHeldSequences(clock: Pick<Clock, 'monotonicMs'>, kvTokens: number): HeldSequences {
  const all = new Map<string, SequenceState>() // in the order of their last naming
  const owners = new Map<string, string>()
  const namedMs = new WeakMap<SequenceState, number>()
  let isRunning = false
  let forgotten: SequenceState[] = [] // in the middle of a step (H1)

  const numTokens = (): number => {
    let sum = 0
    for (const { cache } of all.values()) sum += cache.heldTokens
    return sum
  }

  /** At least as many: what several share counts for each, and no page is looked at. */
  const mostTokens = (): number => {
    let sum = 0
    for (const { cache } of all.values()) sum += cache.length
    return sum
  }

  const hasRoom = (tokens: number): boolean => mostTokens() + tokens <= kvTokens || numTokens() + tokens <= kvTokens

  const forget = (id: string): void => {
    const state = all.get(id)
    all.delete(id)
    owners.delete(id)
    if (state === undefined) return
    if (isRunning) forgotten.push(state)
    else state.cache.release()
  }

  return {
    all,
    get numTokens() {
      return numTokens()
    },
    name: (id, state) => {
      all.delete(id)
      all.set(id, state)
      namedMs.set(state, clock.monotonicMs())
    },
    own: (id, owner) => void owners.set(id, owner),
    ownedBy: (owner) => [...owners].filter(([, other]) => other === owner).map(([id]) => id),
    forget,
    makeRoom: (tokens) => {
      if (hasRoom(tokens)) return
      const idleSinceMs = clock.monotonicMs() - LEAST_IDLE_MS
      for (const [id, state] of all) {
        if ((namedMs.get(state) ?? 0) > idleSinceMs) break
        forget(id)
        if (hasRoom(tokens)) return
      }
      throw new ClusterError('resource_exhausted', `KV cache: want room for ${tokens} more tokens of ${kvTokens}`)
    },
    beginStep: () => {
      isRunning = true
    },
    endStep: () => {
      isRunning = false
      for (const { cache } of forgotten) cache.release()
      forgotten = []
    },
  }
}
