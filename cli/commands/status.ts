// `banyan status`: the cluster as its router sees it.

import * as z from 'zod'
import { ClusterError } from '../../lib/errors.js'
import { parseApiKey } from '../../lib/config/api-keys.js'
import { readApiKeys } from '../../lib/config/resolve.js'
import { clientTls, fetchWith, type Fetch } from '../client-tls.js'
import type { Flags } from '../cluster-flags.js'
import { httpError } from '../http-error.js'
import { print, printJson, table } from '../terminal.js'

export const DEFAULT_URL = 'http://127.0.0.1:8000'
const TIMEOUT_MS = 5_000

const statusSchema = z.object({
  model: z.string(),
  fingerprint: z.string(),
  epoch: z.number(),
  deviceClasses: z.object({ attention: z.string().nullable(), experts: z.string().nullable() }).optional(),
  processes: z.array(
    z.object({
      role: z.string(),
      id: z.string(),
      pid: z.number(),
      state: z.string(),
      deviceClass: z.string(),
      shards: z.array(z.number()),
      reserve: z.boolean().optional(),
      load: z.record(z.string(), z.number()),
      metrics: z.string().optional(),
      protocol: z.object({ lowest: z.number(), highest: z.number() }).optional(),
    }),
  ),
  requests: z.object({ running: z.number(), waiting: z.number() }),
  placement: z.object({
    shards: z.number(),
    replicas: z.number(),
    copies: z.number(),
    imbalance: z.number().nullable().optional(),
    moves: z.number().optional(),
    lack: z.string().optional(),
  }),
  kvUsage: z.number(),
  stepCost: z
    .object({
      predictions: z.number(),
      errorMedian: z.number().nullable(),
      errorP90: z.number().nullable(),
      baselineErrorMedian: z.number().nullable(),
      terms: z.record(z.string(), z.number()),
    })
    .optional(),
})
export type Status = z.infer<typeof statusSchema>

export async function status(flags: Flags): Promise<number> {
  const url = typeof flags.url === 'string' ? flags.url.replace(/\/+$/, '') : DEFAULT_URL
  const found = await fetchStatus({ url, apiKey: apiKeyOf(flags), send: fetchWith(clientTls(flags)) })
  if (flags.json === true) printJson(found)
  else print(describe(found))
  return 0
}

/** The key to send: the flag's, else the first of the environment's. */
export function apiKeyOf(flags: Flags): string | undefined {
  const [given] = Array.isArray(flags.apiKey) ? (flags.apiKey as readonly string[]) : [] // collected from text
  const keys = process.env.BANYAN_API_KEYS
  const first = given ?? (keys === undefined || keys === '' ? undefined : readApiKeys(keys)[0])
  return first === undefined ? undefined : parseApiKey(first).key
}

/** A router's HTTP door, and what it asks for. */
export interface Router {
  readonly url: string
  readonly apiKey: string | undefined
  readonly send: Fetch
}

/** The cluster as the router at the URL sees it. */
export async function fetchStatus({ url, apiKey, send }: Router): Promise<Status> {
  const headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
  const response = await send(`${url}/cluster`, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
    (error: unknown) => {
      throw new ClusterError('unavailable', `${url}: want a Banyan router there, found no answer`, { cause: error })
    },
  )
  if (!response.ok) throw await httpError(response)
  const parsed = statusSchema.safeParse(await response.json().catch(() => undefined))
  if (!parsed.success)
    throw new ClusterError('failed_precondition', `${url}/cluster: want a cluster's status, found something else`)
  return parsed.data
}

export function describe(found: Status): string {
  const { model, fingerprint, epoch, processes, requests, placement, deviceClasses } = found
  const rows = processes.map(({ role, id, pid, state, reserve, deviceClass, shards, load, metrics = '-' }) => [
    role,
    id,
    String(pid),
    reserve === true ? `${state} (reserve)` : state,
    deviceClass,
    shards.join(' '),
    metrics,
    Object.entries(load)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
  ])
  const { attention, experts } = deviceClasses ?? {}
  const { imbalance, moves = 0, lack } = placement
  return [
    `${model} ${fingerprint}, routing table ${epoch} (${placement.copies} of ${placement.replicas} replicas), ${requests.running} running, ${requests.waiting} waiting`,
    ...(deviceClasses === undefined ? [] : [`attention on ${attention ?? 'none'}, experts on ${experts ?? 'none'}`]),
    ...(typeof imbalance === 'number'
      ? [`busiest expert worker ${imbalance.toFixed(2)} of the mean, rebalanced ${moves} times by this router`]
      : []),
    ...(lack === undefined ? [] : [lack]),
    table([['ROLE', 'ID', 'PID', 'STATE', 'DEVICE', 'SHARDS', 'METRICS', 'LOAD'], ...rows]),
  ].join('\n')
}
