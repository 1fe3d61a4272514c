// What a case does its work with: the cluster, a place in the streams that the seed decides, a victim that it decides too,
// and the signals that a machine's failures come down to. Everything that is done is noted, so that it can be read later.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Role } from '../../lib/wire/messages.js'
import { isAlive } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'
import type { ChaosCluster } from './chaos-cluster.js'
import type { TokenCount } from './load.js'
import { findById } from './process-table.js'
import type { ProcessRow } from './status.js'
import type { NetworkFault } from './tcp-proxy.js'

const BACK_TIMEOUT_MS = 60_000

export interface Process {
  readonly id: string
  readonly pid: number
}

export interface Scene {
  readonly cluster: ChaosCluster
  readonly random: () => number
  readonly signal: AbortSignal // ends the case
  note(words: string): void
  /** Waits for the token of the streams that the seed drew. */
  strike(): Promise<void>
  /** Waits for so many more. */
  moreTokens(count: number): Promise<void>
  /** One that serves, drawn; never the one behind the proxy. */
  victim(role: Role, besides?: Process): Promise<ProcessRow>
  kill(victim: Process): void
  pause(victim: Process, ms: number): Promise<void>
  /** Waits until the id has a new process, just born. */
  reborn(victim: Process): Promise<Process>
  /** Waits until the id has a new process that serves. */
  back(victim: Process): Promise<Process>
  partition(fault: NetworkFault, ms: number): Promise<void>
}

export interface SceneOptions {
  readonly cluster: ChaosCluster
  readonly random: () => number
  readonly signal: AbortSignal
  readonly count: TokenCount
  readonly strikeAt: number // token
  readonly note: (words: string) => void
}

export function createScene({ cluster, random, signal, count, strikeAt, note: write }: SceneOptions): Scene {
  const note = (words: string): void => write(`token ${count.value}: ${words}`)
  const moreTokens = (more: number): Promise<void> => count.reached(count.value + more, signal)

  const send = (victim: Process, name: NodeJS.Signals): void => {
    note(`${name} ${victim.id} (${victim.pid})`)
    if (isAlive(victim.pid)) process.kill(victim.pid, name)
  }

  return {
    cluster,
    random,
    signal,
    note,
    strike: () => count.reached(strikeAt, signal),
    moreTokens,
    victim: async (role, besides) => {
      const all = await cluster.ready(role)
      const others = all.filter(({ id }) => id !== besides?.id && id !== cluster.apartId)
      const victim = others[Math.floor(random() * others.length)]
      if (victim === undefined) throw new Error(`want a ${role} to strike, found none of ${all.length} that may be`)
      return victim
    },
    kill: (victim) => send(victim, 'SIGKILL'),
    pause: async (victim, ms) => {
      send(victim, 'SIGSTOP')
      await sleep(ms)
      send(victim, 'SIGCONT')
    },
    reborn: async ({ id, pid }) => {
      let found: Process | undefined
      const look = (): boolean => {
        const process = findById(cluster.up.cli.pid, id)
        if (process !== undefined && process.pid !== pid) found = { id, pid: process.pid }
        return found !== undefined
      }
      await eventually(look, `${id} is started again`, BACK_TIMEOUT_MS)
      return found ?? { id, pid }
    },
    back: async ({ id, pid }) => {
      let found: ProcessRow | undefined
      const look = async (): Promise<boolean> => {
        const rows = await cluster.rows()
        found = rows.find((row) => row.id === id && row.pid !== pid && row.state === 'ready')
        return found !== undefined
      }
      await eventually(look, `${id} is back`, BACK_TIMEOUT_MS)
      return found ?? { id, pid }
    },
    partition: async (fault, ms) => {
      const { proxy, apartId = '' } = cluster
      if (proxy === undefined) throw new Error('want a service behind a proxy, found none')
      note(`${JSON.stringify(fault)} between ${apartId} and NATS`)
      proxy.inject(fault)
      await sleep(ms)
      proxy.heal()
      note(`the network of ${apartId} is well again`)
    },
  }
}
