// What workers hold for a router goes when the router does: it said that it stops, a newer incarnation took its id, or it
// has been silent for long.

import type { Heartbeat } from '../wire/messages.js'
import { subjects } from '../wire/subjects.js'
import type { ActorSystem } from './actor.js'
import { createSilenceWatch } from './silence.js'

const GONE_AFTER_MS = 15_000
const CHECK_MS = 1_000
const MAX_GONE = 256 // remembered

export interface RouterWatch {
  /** Whether this incarnation of a router is known to have gone: a message of it may still come. */
  isGone(incarnation: string): boolean
  /** Whether a router of this checkpoint is heard, so that it hears this process. */
  isHeard(fingerprint: string): boolean
  stop(): void
}

export interface RouterWatchOptions {
  readonly system: ActorSystem
  readonly cluster: string
  readonly incarnation: string // of this process, which hears its own heartbeats
  /** `successor`: the incarnation that has its id now. */
  readonly onGone: (router: string, incarnation: string, successor: string | undefined) => void
}

export function watchRouters({ system, cluster, incarnation: own, onGone }: RouterWatchOptions): RouterWatch {
  const { clock } = system
  const routers = new Map<string, Pick<Heartbeat, 'incarnation' | 'fingerprint'>>() // by id
  const gone = new Set<string>() // incarnations, oldest first
  const silence = createSilenceWatch(own)
  let cancel = (): void => undefined

  const leave = (id: string, successor?: string): void => {
    const router = routers.get(id)
    if (router === undefined) return
    const { incarnation } = router
    routers.delete(id)
    silence.forget(incarnation)
    gone.add(incarnation)
    for (const oldest of gone) if (gone.size > MAX_GONE) gone.delete(oldest)
    onGone(id, incarnation, successor)
  }

  const observeRouter = ({ id, incarnation, fingerprint, state }: Heartbeat): void => {
    const known = routers.get(id)?.incarnation
    if (known !== undefined && known !== incarnation) {
      if (gone.has(incarnation)) return // it was replaced, and still beats
      leave(id, incarnation)
    }
    gone.delete(incarnation)
    routers.set(id, { incarnation, fingerprint })
    silence.heard(incarnation, clock.monotonicMs())
    if (state === 'stopped') leave(id)
  }

  const check = (): void => {
    const nowMs = clock.monotonicMs()
    for (const [id, { incarnation }] of routers) if (silence.silentMs(incarnation, nowMs) > GONE_AFTER_MS) leave(id)
    cancel = clock.after(CHECK_MS, check)
  }

  const stopListening = system.listen(subjects.health(cluster), 'worker.heartbeat', (heartbeat) => {
    if (heartbeat.incarnation === own) silence.heard(own, clock.monotonicMs())
    else if (heartbeat.role === 'router') observeRouter(heartbeat)
  })
  check()
  return {
    isGone: (incarnation) => gone.has(incarnation),
    isHeard: (fingerprint) => [...routers.values()].some((router) => router.fingerprint === fingerprint),
    stop: () => {
      stopListening()
      cancel()
    },
  }
}
