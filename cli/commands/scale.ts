// `banyan scale`: other sizes for a running cluster, and the wait until they have come about.

import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { ClusterError } from '../../lib/errors.js'
import {
  mergeSizes,
  PROCESS_SIZES,
  ROLE_OF,
  SIZE_BOUNDS,
  type ProcessSize,
  type Sizes,
  type WantedSizes,
} from '../../lib/wire/sizes.js'
import { clientTls, fetchWith } from '../client-tls.js'
import type { Flags } from '../cluster-flags.js'
import { httpError } from '../http-error.js'
import { usageError } from '../report-error.js'
import { notify, print, printJson } from '../terminal.js'
import { apiKeyOf, DEFAULT_URL, fetchStatus, type Router, type Status } from './status.js'

const POLL_MS = 100
const ANSWER_TIMEOUT_MS = 10_000
const DEFAULT_TIMEOUT_MS = 120_000 // a worker may have a large checkpoint to load
const NAMES = [...PROCESS_SIZES, 'replicas'] as const

/** Returns when every asked-for service is ready and every shard has its replicas. Throws `deadline_exceeded` otherwise. */
export async function scale(flags: Flags): Promise<number> {
  const wanted = readWanted(flags)
  const router = { url: urlOf(flags), apiKey: apiKeyOf(flags), send: fetchWith(clientTls(flags)) }
  const was = sizesOf(await fetchStatus(router))
  await post(router, wanted)
  const timeoutMs = typeof flags.timeoutMs === 'number' ? flags.timeoutMs : DEFAULT_TIMEOUT_MS
  const reached = await waitUntilReached(router, mergeSizes(was, wanted), { wanted, timeoutMs })
  const result = { was, is: sizesOf(reached), epoch: reached.epoch }
  if (flags.json === true) printJson(result)
  else print(NAMES.map((name) => `${name} ${describeChange(was[name], result.is[name])}`).join(', '))
  return 0
}

const describeChange = (from: number, to: number): string => (from === to ? String(to) : `${from} → ${to}`)

function readWanted(flags: Flags): WantedSizes {
  const wanted: Partial<Record<keyof Sizes, number>> = {}
  for (const name of NAMES) {
    const value = flags[name]
    if (typeof value !== 'number') continue
    const { min, max } = SIZE_BOUNDS[name]
    if (value < min || value > max)
      throw usageError(`--${name}: want a whole number from ${min} to ${max}, found ${value}`)
    wanted[name] = value
  }
  if (Object.keys(wanted).length > 0) return wanted
  throw usageError(`scale: want at least one of ${NAMES.map((name) => `--${name}`).join(', ')}, found none`)
}

const readySchema = z.object({ http: z.string() })

function urlOf({ url, readyFile }: Flags): string {
  if (typeof readyFile !== 'string') return typeof url === 'string' ? url.replace(/\/+$/, '') : DEFAULT_URL
  if (typeof url === 'string') throw usageError('scale: want --url or --ready-file, found both')
  try {
    return readySchema.parse(JSON.parse(readFileSync(readyFile, 'utf8'))).http
  } catch (error) {
    throw new ClusterError('not_found', `${readyFile}: want the ready file of a running cluster`, { cause: error })
  }
}

async function post({ url, apiKey, send }: Router, wanted: WantedSizes): Promise<void> {
  const authorization = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
  const response = await send(`${url}/cluster/scale`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorization },
    body: JSON.stringify(wanted),
    signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
  }).catch((error: unknown) => {
    throw new ClusterError('unavailable', `${url}: want a Banyan router there, found no answer`, { cause: error })
  })
  if (!response.ok) throw await httpError(response)
  await response.body?.cancel()
}

interface Goal {
  readonly wanted: WantedSizes
  readonly timeoutMs: number
}

async function waitUntilReached(router: Router, sizes: Sizes, { wanted, timeoutMs }: Goal): Promise<Status> {
  const giveUpMs = Date.now() + timeoutMs
  let told = ''
  for (;;) {
    const status = await fetchStatus(router)
    const missing = whatIsMissing(status, sizes, wanted)
    if (missing.length === 0) return status
    if (missing.join(', ') !== told) notify(`waiting: ${(told = missing.join(', '))}`)
    if (Date.now() > giveUpMs) {
      throw new ClusterError('deadline_exceeded', `scale: not within ${timeoutMs} ms: ${told}`)
    }
    await sleep(POLL_MS)
  }
}

/** What keeps the cluster from having the sizes, in words; nothing once it has them. */
export function whatIsMissing(status: Status, sizes: Sizes, wanted: WantedSizes): readonly string[] {
  const { processes, placement } = status
  const numReady = (name: ProcessSize): number => sizesOf(status)[name]
  const isAsked = (name: ProcessSize): boolean => wanted[name] !== undefined
  const draining = processes.filter(
    ({ role, state }) => state === 'draining' && PROCESS_SIZES.some((name) => isAsked(name) && ROLE_OF[name] === role),
  )
  const copies = Math.min(sizes.replicas, numReady('experts'))
  const others = processes.filter(
    ({ role, state, load }) =>
      role === 'router' && state === 'ready' && (load.replicas !== sizes.replicas || load.copies !== copies),
  )
  return [
    ...PROCESS_SIZES.filter((name) => isAsked(name) && numReady(name) !== sizes[name]).map(
      (name) => `${name} ${numReady(name)} of ${sizes[name]} ready`,
    ),
    ...draining.map(({ id }) => `${id} drains`),
    ...(placement.replicas === sizes.replicas && placement.copies === copies
      ? []
      : [`some shard has ${placement.copies} of ${copies} replicas`]),
    ...others.map(({ id }) => `the table of ${id} does not have them yet`),
  ]
}

/** Processes that are ready, by role. */
function sizesOf({ processes, placement }: Status): Sizes {
  const count = (role: string): number =>
    processes.filter((process) => process.role === role && process.state === 'ready').length
  return {
    routers: count('router'),
    attention: count('attention'),
    experts: count('expert-worker'),
    drafters: count('drafter'),
    replicas: placement.replicas,
  }
}
