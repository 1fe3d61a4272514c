// Sequences for which there is no attention worker now. They wait for one, but not for ever.

import type { Clock } from '../../lib/actor/actor.js'
import { ClusterError } from '../../lib/errors.js'
import type { Sequence } from './sequence.js'

export const HOMELESS_MS = 60_000

export interface Homeless {
  readonly sequences: readonly Sequence[]
  add(sequence: Sequence): void
  remove(sequences: readonly Sequence[]): void
  takeAll(): Sequence[]
  stop(): void
}

export function createHomeless(clock: Clock): Homeless {
  const timers = new Map<Sequence, () => void>() // in the order in which they came

  const remove = (sequence: Sequence): void => {
    timers.get(sequence)?.()
    timers.delete(sequence)
  }

  const giveUp = (sequence: Sequence): void => {
    timers.delete(sequence)
    const message = `no attention worker has come for ${HOMELESS_MS / 1000} s`
    sequence.emitter.fail(new ClusterError('unavailable', message, { details: { reason: 'ATTENTION_UNAVAILABLE' } }))
  }

  const takeAll = (): Sequence[] => {
    const all = [...timers.keys()]
    all.forEach(remove)
    return all
  }

  return {
    get sequences() {
      return [...timers.keys()]
    },
    add: (sequence) => {
      sequence.waitsSinceMs ??= clock.monotonicMs()
      timers.set(
        sequence,
        clock.after(HOMELESS_MS, () => giveUp(sequence)),
      )
    },
    remove: (sequences) => sequences.forEach(remove),
    takeAll,
    stop: () => void takeAll(),
  }
}
