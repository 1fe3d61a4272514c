// Random faults for as long as a soak lasts. The first of each role is killed again and again; every service may be
// paused; the second of each lives from beginning to end, so that what it holds can be watched.

import { setTimeout as sleep } from 'node:timers/promises'
import type { ChaosCluster } from '../chaos/chaos-cluster.js'
import { isAlive } from '../helpers/cli.js'

const EVERY_MS = [5_000, 25_000] as const
const PAUSE_MS = [100, 3_000] as const
const KILL_SHARE = 0.6
const NATS_SHARE = 0.1

export interface FaultOptions {
  readonly cluster: ChaosCluster
  readonly random: () => number
  readonly isOver: () => boolean
  readonly note: (words: string) => void
}

export const isSacrificed = (id: string): boolean => id.endsWith('-0')

/** Resolves with how many there were. */
export async function injectFaults({ cluster, random, isOver, note }: FaultOptions): Promise<number> {
  const between = ([from, to]: readonly [number, number]): number => from + random() * (to - from)
  const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(random() * items.length)]

  const strike = async (): Promise<void> => {
    const kind = random()
    const ready = (await cluster.rows()).filter(({ state }) => state === 'ready')
    const isKill = kind < KILL_SHARE
    const victim =
      kind < NATS_SHARE ? cluster.privateNats() : pick(ready.filter(({ id }) => !isKill || isSacrificed(id)))
    if (victim === undefined || !isAlive(victim.pid)) return
    const ms = between(PAUSE_MS)
    note(isKill ? `SIGKILL ${victim.id}` : `SIGSTOP ${victim.id} for ${Math.round(ms)} ms`)
    process.kill(victim.pid, isKill ? 'SIGKILL' : 'SIGSTOP')
    if (isKill) return
    await sleep(ms)
    if (isAlive(victim.pid)) process.kill(victim.pid, 'SIGCONT')
  }

  let count = 0
  for (; !isOver(); count++) {
    await strike()
    for (const end = Date.now() + between(EVERY_MS); Date.now() < end && !isOver();) await sleep(100)
  }
  return count
}
