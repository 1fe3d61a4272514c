// How much each caller may ask for: requests a second and tokens a minute, a bucket of each. What waits in a bucket is at
// most what flows into it in that time, so a caller may come all at once or evenly.
//
// Invariants
//   RL1  A refusal says when there is room for just this: who waits so long and finds nobody before him is let in.
//   RL2  What asks for more than a bucket ever holds is let in when the bucket is full, and leaves it in debt.
//   RL3  The number of callers that are remembered is bounded; who has not come for longest is forgotten first.

import type { RateLimit } from '../../lib/config/api-keys.js'
import { ClusterError } from '../../lib/errors.js'
import type { GenerateEvent, GenerateInput, GenerateOptions, InferenceEngine } from './engine.js'

const MAX_CALLERS = 16_384

export interface RateLimits {
  /** Throws `resource_exhausted` (reason RATE_LIMITED) with the time until there is room. */
  takeRequest(caller: string): void
  /** The engine as this caller may use it: prompt and `max_tokens` are taken at the door, what was not used comes back. */
  metered(engine: InferenceEngine, caller: string): InferenceEngine
}

/** Whose allowance a call draws on: its key's, or without keys its address's. */
export const callerOf = (tenant: string, address = ''): string =>
  tenant === '' ? address.replace(/^::ffff:/, '') : tenant

interface Limit {
  readonly amount: number // in so much time
  readonly perMs: number
  readonly what: string
}

/** A caller's bucket is one number: when it is full again, if nothing is taken until then. */
type Buckets = Map<string, number>

const ROUNDING_MS = 1e-6

export interface RateLimitOptions {
  readonly common: RateLimit
  /** A caller's own limits, where it has some. */
  readonly own: (caller: string) => RateLimit | undefined
  readonly now: () => number // milliseconds
  /** A request was refused before the engine saw it. */
  readonly onRefused?: (() => void) | undefined
}

export function createRateLimits({ common, own, now, onRefused }: RateLimitOptions): RateLimits {
  const requests: Buckets = new Map()
  const tokens: Buckets = new Map()
  const requestsOf = (caller: string): Limit | undefined =>
    limitOf(own(caller)?.requestsPerSecond ?? common.requestsPerSecond, 1_000, 'requests a second')
  const tokensOf = (caller: string): Limit | undefined =>
    limitOf(own(caller)?.tokensPerMinute ?? common.tokensPerMinute, 60_000, 'tokens a minute')

  return {
    takeRequest: (caller) => {
      const limit = requestsOf(caller)
      if (limit === undefined) return
      try {
        remember(requests, caller, take(requests.get(caller), limit, { count: 1, nowMs: now() }))
      } catch (error) {
        onRefused?.()
        throw error
      }
    },
    metered: (engine, caller) => {
      const limit = tokensOf(caller)
      if (limit === undefined) return engine
      const charge = (count: number): void =>
        remember(tokens, caller, take(tokens.get(caller), limit, { count, nowMs: now() }))
      const refund = (count: number): void => {
        const fullAtMs = tokens.get(caller)
        if (fullAtMs !== undefined) tokens.set(caller, fullAtMs - (count * limit.perMs) / limit.amount)
      }
      return { ...engine, generate: (input, options) => meter(engine, input, { ...options, charge, refund }) }
    },
  }
}

const limitOf = (amount: number | undefined, perMs: number, what: string): Limit | undefined =>
  amount === undefined ? undefined : { amount, perMs, what }

function remember(buckets: Buckets, caller: string, fullAtMs: number): void {
  buckets.delete(caller) // so that it is the last in order again
  buckets.set(caller, fullAtMs)
  const [oldest] = buckets.keys()
  if (buckets.size > MAX_CALLERS && oldest !== undefined) buckets.delete(oldest)
}

/** When the bucket is full again after so much was taken; throws where there is no room for it now. */
function take(
  fullAtMs: number | undefined,
  { amount, perMs, what }: Limit,
  { count, nowMs }: { readonly count: number; readonly nowMs: number },
): number {
  const fullInMs = Math.max(0, (fullAtMs ?? nowMs) - nowMs)
  const waitMs = Math.ceil(fullInMs + (Math.min(count, amount) * perMs) / amount - perMs - ROUNDING_MS)
  if (waitMs <= 0) return nowMs + fullInMs + (count * perMs) / amount
  throw new ClusterError(
    'resource_exhausted',
    `rate limit: want at most ${amount} ${what}; try again in ${waitMs} ms`,
    {
      details: { reason: 'RATE_LIMITED', retryAfterMs: String(waitMs) },
    },
  )
}

/** Counts what a request yields; where the engine charged for it, what was not used is given back at its end. */
async function* meter(
  engine: InferenceEngine,
  input: GenerateInput,
  {
    charge,
    refund,
    ...options
  }: GenerateOptions & { readonly charge: (count: number) => void; readonly refund: (count: number) => void },
): AsyncGenerator<GenerateEvent> {
  let charged = 0
  let used = 0
  const chargeOnce = (count: number): void => {
    charge(count)
    charged = count
  }
  try {
    for await (const event of engine.generate(input, { ...options, charge: chargeOnce })) {
      if (event.kind === 'accepted') used += event.promptTokens
      if (event.kind === 'chunk') used += event.tokenIds.length
      yield event
    }
  } finally {
    if (charged > used) refund(charged - used)
  }
}
