// The disk under the journal file of a simulated process. It outlives its processes; each sees it through its machine.
//
// Invariants
//   S1  An operation takes virtual time and then happens at once; what a machine waits for when it dies never happens.
//   S2  A machine that dies takes the power with it: of what was not synced any part is left, torn at any byte.

import type { Random } from '../../lib/actor/actor.js'
import type { Disk, DiskFile } from '../../lib/transport/disk.js'
import { createSimulatedDisk, diskError, type Fault } from '../helpers/simulated-disk.js'
import { between } from './chance.js'
import type { EventLog } from './event-log.js'
import type { Machine } from './machine.js'
import type { Timeline } from './timeline.js'

const FAILING = 0.4 // of the operations of a failing disk

export interface ServiceDisk {
  /** As the process of this machine sees it. */
  attach(machine: Machine): Disk
  /** The machine dies right after so many more operations. */
  killAfter(numOperations: number): void
  /** From now on. */
  become(condition: DiskCondition): void
}

export type DiskCondition = 'well' | 'full' | 'failing' // failing: some operations do

export interface ServiceDiskOptions {
  readonly timeline: Timeline
  readonly log: EventLog
  readonly random: Random
}

export function createServiceDisk({ timeline, log, random }: ServiceDiskOptions): ServiceDisk {
  const disk = createSimulatedDisk(() => Promise.resolve())
  const slowestMs = random() < 0.5 ? 1 : 40
  let condition: DiskCondition = 'well'
  let numLeft = Infinity

  disk.fault = (operation): Fault | undefined => {
    const numBytes = Math.floor(random() * 300) // that a write still does
    if (condition === 'full' && operation === 'write') return { error: diskError('ENOSPC'), numBytes }
    if (condition === 'failing' && random() < FAILING) return { error: diskError('EIO'), numBytes }
    return undefined
  }

  const attach: ServiceDisk['attach'] = (machine) => {
    const turn = (): Promise<void> =>
      new Promise((resolve) => {
        timeline.at(machine.sendMs + between(random, 0.05, slowestMs), () => machine.run(resolve))
      })
    const operate = async <T>(run: () => Promise<T>): Promise<T> => {
      await turn()
      try {
        return await run()
      } finally {
        numLeft -= 1
        if (numLeft === 0) machine.kill()
        if (machine.state === 'dead') await turn() // nobody hears of it (S1)
      }
    }
    const file = (opened: DiskFile): DiskFile => ({
      write: (bytes, position) => {
        const copy = Uint8Array.from(bytes)
        return operate(() => opened.write(copy, position))
      },
      sync: () => operate(() => opened.sync()),
      truncate: (length) => operate(() => opened.truncate(length)),
      close: () => opened.close(),
    })
    machine.onDeath(() => {
      log.note(timeline.nowMs, `${machine.id}: what its disk was not told to keep is torn`)
      disk.crash(random)
      numLeft = Infinity
    })
    return {
      read: (name) => operate(() => disk.read(name)),
      open: (name) => operate(async () => file(await disk.open(name))),
      rename: (from, to) => operate(() => disk.rename(from, to)),
      remove: (name) => operate(() => disk.remove(name)),
      sync: () => operate(() => disk.sync()),
    }
  }

  return {
    attach,
    killAfter: (numOperations) => {
      numLeft = numOperations
    },
    become: (next) => {
      condition = next
    },
  }
}
