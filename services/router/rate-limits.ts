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

interface Bucket {
  level: number
  atMs: number
}

interface Refill {
  readonly amount: number // in so much time, and at most
  readonly perMs: number
  readonly what: string
}

export interface RateLimitOptions {
  readonly common: RateLimit
  /** A caller's own limits, where it has some. */
  readonly own: (caller: string) => RateLimit | undefined
  readonly now: () => number // milliseconds
}

export function createRateLimits({ common, own, now }: RateLimitOptions): RateLimits {
  const requests = new Map<string, Bucket>()
  const tokens = new Map<string, Bucket>()
  const requestsOf = (caller: string): Refill | undefined =>
    refill(own(caller)?.requestsPerSecond ?? common.requestsPerSecond, 1_000, 'requests a second')
  const tokensOf = (caller: string): Refill | undefined =>
    refill(own(caller)?.tokensPerMinute ?? common.tokensPerMinute, 60_000, 'tokens a minute')

  return {
    takeRequest: (caller) => {
      const limit = requestsOf(caller)
      if (limit !== undefined) take(bucketOf(requests, caller, limit, now()), limit, 1)
    },
    metered: (engine, caller) => {
      const limit = tokensOf(caller)
      if (limit === undefined) return engine
      const charge = (count: number): void => take(bucketOf(tokens, caller, limit, now()), limit, count)
      const refund = (count: number): void => void (bucketOf(tokens, caller, limit, now()).level += count)
      return { ...engine, generate: (input, options) => meter(engine, input, { ...options, charge, refund }) }
    },
  }
}

const refill = (amount: number | undefined, perMs: number, what: string): Refill | undefined =>
  amount === undefined ? undefined : { amount, perMs, what }

/** The caller's bucket with what has flowed in since. */
function bucketOf(buckets: Map<string, Bucket>, caller: string, { amount, perMs }: Refill, nowMs: number): Bucket {
  const { level, atMs } = buckets.get(caller) ?? { level: amount, atMs: nowMs }
  const bucket = { level: Math.min(amount, level + ((nowMs - atMs) * amount) / perMs), atMs: nowMs }
  buckets.delete(caller) // so that it is the last in order again
  buckets.set(caller, bucket)
  const [oldest] = buckets.keys()
  if (buckets.size > MAX_CALLERS && oldest !== undefined) buckets.delete(oldest)
  return bucket
}

function take(bucket: Bucket, { amount, perMs, what }: Refill, count: number): void {
  const missing = Math.min(count, amount) - bucket.level
  if (missing <= 0) {
    bucket.level -= count
    return
  }
  const waitMs = Math.ceil((missing * perMs) / amount)
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
