// A whole simulated cluster: its processes with their services, and what restarts them when they die.

import type { Random } from '../../lib/actor/actor.js'
import type { RecordStore } from '../../lib/transport/record-store.js'
import type { RouterCore } from '../../services/router/start.js'
import type { Door } from './door.js'
import type { EventLog } from './event-log.js'
import type { Machine } from './machine.js'
import type { MeteredKernels } from './metered-kernels.js'
import type { Connection, Network } from './network.js'
import { createProcessMaker, type ProcessMaker } from './process.js'
import { createServiceDisk, type ServiceDisk } from './service-disk.js'
import { ROLES, startService, type Shape, type SimulatedRole, type StartedService } from './services.js'
import type { Timeline } from './timeline.js'

const RETRY_MS = 1_000 // after a start that failed

export interface Surroundings {
  readonly timeline: Timeline
  readonly network: Network
  readonly log: EventLog
  readonly metered: MeteredKernels
  readonly records: RecordStore // of a cluster on a bus: they outlive every process
  readonly maxPayloadBytes: number
  /** A stream of chance for each name. */
  readonly randomFor: (name: string) => Random
}

/** A service as the supervisor sees it: one place, one life after the other. */
export interface Place {
  readonly id: string
  readonly role: SimulatedRole
  readonly machine: Machine
  readonly connection: Connection
  /** Once it serves, and until it is told to leave. */
  readonly router: RouterCore | undefined
  readonly isStarted: boolean
  /** Why its start failed. */
  readonly failure: unknown
}

export interface Cluster {
  readonly places: readonly Place[]
  /** Where the journal lies of a cluster that is one process. */
  readonly disk: ServiceDisk | undefined
  doors(this: void): readonly (Door | undefined)[]
  /** Kills nothing itself: starts a dead process again after so long. */
  restart(place: Place, afterMs: number): void
  /** Lets a process leave in order, then starts it again. */
  drain(place: Place, restartAfterMs: number): void
}

type MutablePlace = { -readonly [Key in keyof Place]: Place[Key] } & { service: StartedService | undefined }

/** One process after the other, with the same services. */
interface Host {
  readonly name: string
  readonly places: readonly MutablePlace[]
  machine: Machine
  records: RecordStore | undefined
  lives: number
  isLeaving: boolean
}

export function createCluster(shape: Shape, surroundings: Surroundings): Cluster {
  const { timeline, log, metered, randomFor } = surroundings
  const isOne = shape.form === 'local'
  const disk = isOne ? createServiceDisk({ timeline, log, random: randomFor('disk') }) : undefined
  const makeProcess = createProcessMaker(shape, surroundings, disk)
  const places = ROLES.flatMap((role) =>
    Array.from({ length: shape.counts[role] }, (_, i) => newPlace(`${role}-${i}`, role)),
  )
  const hosts = isOne ? [newHost('machine', places)] : places.map((place) => newHost(place.id, [place]))

  const start = (host: Host): void => {
    const life = makeProcess(host.name, (host.lives += 1))
    const { machine } = life
    if (host.lives > 1) machine.wallOffsetMs = host.machine.wallOffsetMs // the clock that jumped is not the process's own
    Object.assign(host, { machine, records: undefined, isLeaving: false })
    for (const place of host.places) Object.assign(place, { ...NOT_STARTED, machine, connection: life.connect() })
    machine.onDeath(() => {
      metered.reclaim(machine)
      for (const place of host.places) Object.assign(place, { router: undefined, service: undefined })
    })
    // An event of its own: what it waits for in its start goes on in this machine, and is charged to it.
    timeline.at(timeline.nowMs, () => machine.run(() => void serve(host, life)))
  }

  const serve = async (host: Host, life: ReturnType<ProcessMaker>): Promise<void> => {
    const { machine } = life
    try {
      const records = (host.records = await life.openRecords())
      for (const place of host.places) {
        const service = await startService(place.role, life.depsOf(place, records), shape)
        if (machine.state === 'dead') return
        Object.assign(place, { service, router: service.router, isStarted: true })
      }
    } catch (error) {
      for (const place of host.places) place.failure = error
      log.note(timeline.nowMs, `${host.name} did not start: ${String(error)}`)
      if (!isOne) return // nothing that happens to it explains that
      machine.kill()
      again(host, RETRY_MS)
    }
  }

  const again = (host: Host, afterMs: number): void => {
    const { lives } = host
    timeline.at(timeline.nowMs + afterMs, () => {
      if (host.lives !== lives || host.machine.state !== 'dead') return
      log.note(timeline.nowMs, `${host.name} is started again`)
      start(host)
    })
  }

  /** As a process does that is told to: one service drains; of a whole cluster the routers, who still need the others. */
  const leave = async ({ places: its, records }: Host): Promise<void> => {
    const first = isOne ? its.filter(({ role }) => role === 'router') : its
    await Promise.all(first.map(async ({ service }) => service?.drain()))
    await Promise.all(its.map(async (place) => (first.includes(place) ? undefined : place.service?.stop())))
    await records?.close()
  }

  const hostOf = ({ id }: Place): Host => hosts.find((host) => host.places.some((place) => place.id === id))!

  hosts.forEach(start)
  return {
    places,
    disk,
    doors: () =>
      places
        .filter(({ role }) => role === 'router')
        .map(({ machine, router }) => (router === undefined ? undefined : { machine, engine: router.engine })),
    restart: (place, afterMs) => again(hostOf(place), afterMs),
    drain: (place, restartAfterMs) => {
      const host = hostOf(place)
      const { machine, isLeaving } = host
      if (isLeaving || host.places.some(({ isStarted }) => !isStarted)) return
      host.isLeaving = true
      machine.run(() => {
        log.note(timeline.nowMs, `${host.name} drains`)
        void leave(host).finally(() => {
          machine.kill()
          again(host, restartAfterMs)
        })
      })
    },
  }
}

const NOT_STARTED = { router: undefined, service: undefined, isStarted: false, failure: undefined }

// `start` gives them a machine and a connection before anybody sees them.
const newPlace = (id: string, role: SimulatedRole): MutablePlace => ({ id, role, ...NOT_STARTED }) as MutablePlace

const newHost = (name: string, places: readonly MutablePlace[]): Host =>
  ({ name, places, lives: 0, isLeaving: false }) as unknown as Host
