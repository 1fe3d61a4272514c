// Death that others can watch: an actor that stopped says so; one whose process fell silent is missed.

import { ClusterError } from '../errors.js'
import type { MessageKind, MessageOf } from '../wire/messages.js'
import { subjects } from '../wire/subjects.js'
import type { Clock } from './actor.js'

const SILENCE_MS = 5_000
const CHECK_MS = 500

export interface DeathWatch {
  watch(this: void, address: string, onDeath: (error: ClusterError) => void): () => void
  stop(): void
}

interface Watched {
  readonly address: string
  readonly onDeath: (error: ClusterError) => void
  heardMs: number
}

export function createDeathWatch(options: {
  readonly clock: Clock
  readonly cluster: string
  readonly listen: <K extends MessageKind>(
    subject: string,
    kind: K,
    handler: (message: MessageOf<K>) => void,
  ) => () => void
}): DeathWatch {
  const { clock, cluster, listen } = options
  const watched = new Set<Watched>()
  let stopListening: (() => void) | undefined
  let cancelCheck = (): void => undefined

  const die = (entry: Watched, why: string): void => {
    if (watched.delete(entry)) entry.onDeath(new ClusterError('unavailable', `${entry.address}: ${why}`))
  }

  const check = (): void => {
    for (const entry of [...watched]) {
      if (clock.monotonicMs() - entry.heardMs > SILENCE_MS) die(entry, `no heartbeat for ${SILENCE_MS} ms`)
    }
    cancelCheck = clock.after(CHECK_MS, check)
  }

  const start = (): (() => void) => {
    const stopHeartbeats = listen(subjects.health(cluster), 'worker.heartbeat', ({ id, state }) => {
      for (const entry of [...watched]) {
        if (entry.address !== id) continue
        if (state === 'stopped') die(entry, 'it stopped')
        else entry.heardMs = clock.monotonicMs()
      }
    })
    const stopObituaries = listen(subjects.obituaries(cluster), 'actor.stopped', ({ address }) => {
      for (const entry of [...watched]) if (entry.address === address) die(entry, 'it stopped')
    })
    check()
    return () => {
      stopHeartbeats()
      stopObituaries()
      cancelCheck()
    }
  }

  return {
    watch: (address, onDeath) => {
      stopListening ??= start()
      const entry: Watched = { address, onDeath, heardMs: clock.monotonicMs() }
      watched.add(entry)
      return () => void watched.delete(entry)
    },
    stop: () => {
      watched.clear()
      stopListening?.()
    },
  }
}
