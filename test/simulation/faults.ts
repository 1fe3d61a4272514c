// What goes wrong in a simulation, and when: drawn before it begins, so that a seed says it all.

import type { Random } from '../../lib/actor/actor.js'
import { between, integer, pick } from './chance.js'
import type { Cluster, Place } from './cluster.js'
import type { EventLog } from './event-log.js'
import type { LinkFaults, Network } from './network.js'
import type { Form } from './services.js'
import type { Timeline } from './timeline.js'

/** Of a cluster of processes on a bus. */
const BUS_KINDS = [
  'kill',
  'kill-in-event',
  'freeze',
  'slow',
  'partition',
  'reset',
  'bad-network',
  'broker-restart',
  'clock-jump',
  'drain',
] as const
/** Of a cluster that is one process with a disk. */
const ONE_PROCESS_KINDS = [
  'kill',
  'kill-in-event',
  'kill-in-write',
  'freeze',
  'slow',
  'full-disk',
  'failing-disk',
  'clock-jump',
  'drain',
] as const
export type FaultKind = (typeof BUS_KINDS)[number] | (typeof ONE_PROCESS_KINDS)[number]

export const FAULT_KINDS: Readonly<Record<Form, readonly FaultKind[]>> = { nats: BUS_KINDS, local: ONE_PROCESS_KINDS }

export interface Fault {
  readonly kind: FaultKind
  readonly atMs: number
  readonly target: number // among the places, from 0 to 1
  readonly size: number // how bad, from 0 to 1
  readonly chance: number // for what else is to be drawn
}

/** Faults between two times. */
export function drawFaults(random: Random, fromMs: number, untilMs: number, kinds: readonly FaultKind[]): Fault[] {
  const count = integer(random, 1, 4)
  return Array.from({ length: count }, () => ({
    kind: pick(random, kinds),
    atMs: between(random, fromMs, untilMs),
    target: random(),
    size: random(),
    chance: random(),
  })).sort((a, b) => a.atMs - b.atMs)
}

export interface Stage {
  readonly timeline: Timeline
  readonly network: Network
  readonly cluster: Cluster
  readonly log: EventLog
  /** What has gone wrong so far, where and when. */
  readonly struck: Struck[]
}

export interface Struck {
  readonly kind: FaultKind
  readonly place: string // '' for all
  readonly isLong: boolean // half a minute
  readonly atMs: number
}

/** Lets the fault happen now; it heals by itself. */
export function strike({ kind, target, size, chance }: Fault, stage: Stage): void {
  const { timeline, network, cluster, log, struck } = stage
  const place = cluster.places[Math.floor(target * cluster.places.length)]!
  const { machine } = place
  const link = network.links.get(machine)
  const later = (ms: number, run: () => void): void => void timeline.at(timeline.nowMs + ms, run)
  const { disk } = cluster // of a cluster in one process: whatever strikes it strikes all
  const isOfNobody = kind === 'broker-restart' || kind === 'bad-network'
  const isEverywhere = isOfNobody || disk !== undefined
  if (!isOfNobody && machine.state !== 'running') return
  const isLong = kind === 'freeze' && freezeMs(size) > 10_000
  struck.push({ kind, place: isEverywhere ? '' : place.id, isLong, atMs: timeline.nowMs })
  const note = (what: string): void => log.note(timeline.nowMs, `FAULT ${what}`)
  switch (kind) {
    case 'kill':
      note(`kill ${place.id}`)
      machine.kill()
      return cluster.restart(place, 100 + 3_000 * size)
    case 'kill-in-event':
      note(`kill ${place.id} after some messages`)
      machine.killAfter(1 + Math.floor(20 * chance))
      machine.onDeath(() => cluster.restart(place, 100 + 3_000 * size))
      return
    case 'kill-in-write':
      note(`kill ${place.id} after some operations of its disk`)
      disk?.killAfter(1 + Math.floor(8 * chance))
      machine.onDeath(() => cluster.restart(place, 20 + 400 * size)) // soon: whoever asked asks again
      return
    case 'full-disk':
    case 'failing-disk':
      note(kind)
      disk?.become(kind === 'full-disk' ? 'full' : 'failing')
      return later(500 + 10_000 * size, () => disk?.become('well'))
    case 'freeze': {
      const ms = freezeMs(size)
      note(`freeze ${place.id} for ${ms} ms`)
      machine.freeze()
      return later(ms, () => machine.wake())
    }
    case 'slow':
      note(`slow ${place.id}`)
      machine.slowness = 2 + 30 * size
      return later(5_000, () => (machine.slowness = 1))
    case 'partition': {
      const ms = 100 + 14_000 * size
      note(`partition ${place.id} for ${ms.toFixed(0)} ms`)
      link?.partition()
      return later(ms, () => {
        link?.heal()
        if (chance < 0.5 && machine.state !== 'dead') link?.reset()
      })
    }
    case 'reset':
      note(`reset ${place.id}`)
      return link?.reset()
    case 'bad-network':
      return spoil(stage, { size, chance })
    case 'broker-restart':
      note('broker restart')
      return network.restartBroker(50 + 10_000 * size * size)
    case 'clock-jump':
      note(`clock jump ${place.id}`)
      machine.wallOffsetMs += (chance < 0.5 ? -1 : 1) * 3_600_000 * size
      return
    case 'drain':
      note(`drain ${place.id}`)
      return cluster.drain(place, 100 + 3_000 * size)
  }
}

const freezeMs = (size: number): number => [300, 3_000, 30_000][Math.floor(size * 3)]!

/** For some seconds every connection is slow, or loses, repeats or reorders messages, or several of these. */
function spoil({ timeline, network, log }: Stage, { size, chance }: Pick<Fault, 'size' | 'chance'>): void {
  const kinds = 1 + Math.floor(chance * 15) // a bit for each, at least one
  const isSet = (bit: number): boolean => (kinds & bit) !== 0
  const spoilt: Partial<LinkFaults> = {
    ...(isSet(1) && { latencyMs: 200 * size, jitterMs: 50 * size, bytesPerMs: 1_000 }),
    ...(isSet(2) && { lost: 0.03 * size }),
    ...(isSet(4) && { duplicated: 0.2 * size }),
    ...(isSet(8) && { reordered: 0.2 * size }),
  }
  log.note(timeline.nowMs, `FAULT bad network ${JSON.stringify(spoilt)}`)
  for (const { faults, usual } of network.links.values()) {
    Object.assign(faults, spoilt)
    timeline.at(timeline.nowMs + 2_000 + 6_000 * size, () => Object.assign(faults, usual))
  }
}

/** Everything that a fault changed for good is undone. */
export function healAll({ cluster, network }: Stage): void {
  for (const link of network.links.values()) link.heal()
  cluster.disk?.become('well')
  cluster.disk?.killAfter(Infinity)
  for (const { machine } of cluster.places) {
    machine.wake()
    machine.killAfter(Infinity)
    machine.slowness = 1
  }
}

export const isUp = ({ machine, isStarted }: Place): boolean => machine.state === 'running' && isStarted
