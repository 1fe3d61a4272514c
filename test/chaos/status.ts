// What a router's `/cluster` says, and what of it is not as a cluster at rest should be.

import * as z from 'zod'
import type { Role } from '../../lib/wire/messages.js'
import { readStat } from './process-table.js'

const TIMEOUT_MS = 2_000
const NUM_SHARDS = 8 // of the bundled model

const statusSchema = z.object({
  epoch: z.number(),
  processes: z.array(
    z.object({
      role: z.enum(['router', 'attention', 'expert-worker', 'drafter']),
      id: z.string(),
      pid: z.number(),
      state: z.enum(['starting', 'ready', 'suspect', 'draining', 'dead']),
      shards: z.array(z.number()),
    }),
  ),
  requests: z.object({ running: z.number(), waiting: z.number() }),
})

export type ClusterStatus = z.infer<typeof statusSchema>
export type ProcessRow = ClusterStatus['processes'][number]

/** How many of each there should be. */
export interface Asked {
  readonly routers: number
  readonly attention: number
  readonly experts: number
  readonly replicas: number
  readonly drafters: number
}

/** undefined where nobody answers. */
export async function fetchStatus(url: string): Promise<ClusterStatus | undefined> {
  try {
    const response = await fetch(`${url}/cluster`, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    return statusSchema.parse(await response.json())
  } catch {
    return undefined
  }
}

/** In words what is missing or too much; empty where the cluster is whole and at rest. */
export function unsettled(status: ClusterStatus | undefined, asked: Asked, isRunning = isProcess): string {
  if (status === undefined) return 'a router does not answer'
  const living = status.processes.filter(({ state }) => state !== 'dead')
  const odd = living.filter(({ state, pid }) => state !== 'ready' || !isRunning(pid))
  const roles: readonly (readonly [Role, number])[] = [
    ['router', asked.routers],
    ['attention', asked.attention],
    ['expert-worker', asked.experts],
    ['drafter', asked.drafters],
  ]
  const counts = roles.flatMap(([role, want]) => {
    const found = living.filter((row) => row.role === role).length
    return found === want ? [] : [`${role}: want ${want}, found ${found}`]
  })
  const { running, waiting } = status.requests
  const requests = running + waiting === 0 ? [] : [`${running} requests run, ${waiting} wait`]
  const states = odd.map(({ id, pid, state }) => `${id} (${pid}) is ${isRunning(pid) ? state : 'gone'}`)
  return [...counts, ...states, ...requests, ...placementProblems(living, asked)].join(', ')
}

function placementProblems(living: readonly ProcessRow[], { replicas, experts }: Asked): string[] {
  const holders = new Map<number, number>()
  for (const { shards } of living.filter(({ role }) => role === 'expert-worker')) {
    for (const shard of shards) holders.set(shard, (holders.get(shard) ?? 0) + 1)
  }
  const want = Math.min(replicas, experts)
  return Array.from({ length: NUM_SHARDS }, (_, shard) => shard).flatMap((shard) => {
    const found = holders.get(shard) ?? 0
    return found === want ? [] : [`shard ${shard}: want ${want} replicas, found ${found}`]
  })
}

const isProcess = (pid: number): boolean => readStat(pid) !== undefined
