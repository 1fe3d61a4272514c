// The flags of `banyan replay` as what the replayer takes. What makes no sense together is a usage error.

import {
  parseGoals,
  TraceError,
  type Goals,
  type Pace,
  type ScheduleOptions,
  type TimeLimits,
} from '../../replay/src/index.js'
import type { Flags } from '../cluster-flags.js'
import { usageError } from '../report-error.js'

/** As commander parsed them; the cluster's own flags are beside them. */
export interface ReplayFlags {
  readonly url?: string
  readonly grpc?: string
  readonly speedup?: number
  readonly rate?: number
  readonly arrival?: string
  readonly burstiness?: number
  readonly concurrency?: number
  readonly seed?: bigint
  readonly sessions?: boolean
  readonly maxThinkMs?: number
  readonly start?: number
  readonly end?: number
  readonly limit?: number
  readonly goodput?: string
  readonly check?: boolean
  readonly out?: string
  readonly json?: boolean
  readonly skipBad?: boolean
  readonly blockTokens?: number
  readonly prompts?: string
  readonly maxInFlight?: number
  readonly maxLateness?: number
  readonly connectTimeoutMs?: number
  readonly firstByteTimeoutMs?: number
  readonly chunkTimeoutMs?: number
  readonly timeoutMs?: number
}

export type AllFlags = ReplayFlags & Flags

const ARRIVALS = ['poisson', 'gamma', 'constant'] as const
const DEFAULT_BURSTINESS = 0.5
const DEFAULT_MAX_THINK_MS = 15_000
const SEED_BITS = 0xffff_ffffn

const isArrival = (word: string): word is (typeof ARRIVALS)[number] => ARRIVALS.some((name) => name === word)

const positive = (flag: string, value: number | undefined): void => {
  if (value !== undefined && value <= 0) throw usageError(`${flag}: want a number above 0, found ${value}`)
}

export function scheduleOf(flags: ReplayFlags): ScheduleOptions {
  const { start, end, limit, sessions, maxThinkMs } = flags
  if (start !== undefined && start < 0) throw usageError(`--start: want seconds from 0, found ${start}`)
  if (end !== undefined && end <= (start ?? 0)) throw usageError(`--end: want seconds after --start, found ${end}`)
  positive('--limit', limit)
  if (maxThinkMs !== undefined && sessions !== true) throw usageError('--max-think-ms: want --sessions beside it')
  return {
    pace: paceOf(flags),
    ...(start !== undefined && { startMs: start * 1000 }),
    ...(end !== undefined && { endMs: end * 1000 }),
    ...(limit !== undefined && { limit }),
    ...(sessions === true && { sessions: { maxThinkMs: maxThinkMs ?? DEFAULT_MAX_THINK_MS } }),
  }
}

function paceOf({ speedup, rate, arrival, burstiness, concurrency, seed = 0n }: ReplayFlags): Pace {
  const given = Object.entries({ '--speedup': speedup, '--rate': rate, '--concurrency': concurrency }).filter(
    ([, value]) => value !== undefined,
  )
  if (given.length > 1)
    throw usageError(
      `want one of --speedup, --rate and --concurrency, found ${given.map(([flag]) => flag).join(' and ')}`,
    )
  for (const [flag, value] of given) positive(flag, value)
  if (rate === undefined && (arrival ?? burstiness) !== undefined)
    throw usageError('--arrival, --burstiness: want --rate beside them')
  if (concurrency !== undefined) return { kind: 'concurrency', limit: concurrency }
  if (rate === undefined) return { kind: 'recorded', speedup: speedup ?? 1 }
  const kind = arrival ?? (burstiness === undefined ? 'poisson' : 'gamma')
  if (!isArrival(kind)) throw usageError(`--arrival: want poisson, gamma or constant, found ${JSON.stringify(kind)}`)
  if (burstiness !== undefined && kind !== 'gamma') throw usageError('--burstiness: want --arrival gamma beside it')
  positive('--burstiness', burstiness)
  return {
    kind: 'rate',
    perSecond: rate,
    arrival: kind,
    burstiness: burstiness ?? DEFAULT_BURSTINESS,
    seed: Number(seed & SEED_BITS),
  }
}

const MAX_TIMEOUT_MS = 366 * 24 * 3600 * 1000

export function limitsOf(flags: ReplayFlags): Partial<TimeLimits> {
  const { maxLateness = 0, connectTimeoutMs, firstByteTimeoutMs, chunkTimeoutMs, timeoutMs } = flags
  if (maxLateness < 0) throw usageError(`--max-lateness: want milliseconds from 0, found ${maxLateness}`)
  const given = {
    '--connect-timeout-ms': connectTimeoutMs,
    '--first-byte-timeout-ms': firstByteTimeoutMs,
    '--chunk-timeout-ms': chunkTimeoutMs,
    '--timeout-ms': timeoutMs,
  }
  for (const [flag, value = 1] of Object.entries(given))
    if (value < 1 || value > MAX_TIMEOUT_MS)
      throw usageError(`${flag}: want milliseconds from 1 to ${MAX_TIMEOUT_MS}, found ${value}`)
  return {
    ...(firstByteTimeoutMs !== undefined && { firstByteMs: firstByteTimeoutMs }),
    ...(chunkTimeoutMs !== undefined && { chunkMs: chunkTimeoutMs }),
    ...(timeoutMs !== undefined && { requestMs: timeoutMs }),
  }
}

export const goalsOf = ({ goodput }: ReplayFlags): Goals | undefined =>
  goodput === undefined ? undefined : asUsage(() => parseGoals(goodput))

export function promptForm({ prompts = 'ids' }: ReplayFlags): 'ids' | 'text' {
  if (prompts === 'ids' || prompts === 'text') return prompts
  throw usageError(`--prompts: want ids or text, found ${JSON.stringify(prompts)}`)
}

/** What the replayer says of its input is a mistake on the command line. */
export function asUsage<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw error instanceof TraceError ? usageError(error.message) : error
  }
}
