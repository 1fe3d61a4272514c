// RL1 to RL3 of `rate-limits.ts`.

import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import type { RateLimit } from '../../../lib/config/api-keys.js'
import { ClusterError } from '../../../lib/errors.js'
import type { GenerateOptions } from '../../../services/router/engine.js'
import { callerOf, createRateLimits, type RateLimits } from '../../../services/router/rate-limits.js'
import { accepted, chunk, createScriptedEngine, finished } from '../../integration/doors/scripted-engine.js'

describe('rate limits', () => {
  let nowMs = 0
  beforeEach(() => {
    nowMs = 1_000
  })
  const limits = (common: RateLimit, own: Record<string, RateLimit> = {}): RateLimits =>
    createRateLimits({ common, own: (caller) => own[caller], now: () => nowMs })

  /** Milliseconds that the refusal advises; undefined where it was let in. */
  function waitOf(attempt: () => unknown): number | undefined {
    try {
      attempt()
      return undefined
    } catch (error) {
      assert.ok(error instanceof ClusterError && error.code === 'resource_exhausted' && error.isRetryable)
      assert.equal(error.details.reason, 'RATE_LIMITED')
      return Number(error.details.retryAfterMs)
    }
  }

  it('let a burst of a second’s worth in, and one more when there is room for it', () => {
    const rates = limits({ requestsPerSecond: 4 })
    const take = (): number | undefined => waitOf(() => rates.takeRequest('a'))
    assert.deepEqual([take(), take(), take(), take(), take()], [undefined, undefined, undefined, undefined, 250])
    nowMs += 249
    assert.equal(take(), 1)
    nowMs += 1
    assert.equal(take(), undefined)
  })

  it('are none where none are configured', () => {
    const rates = limits({})
    for (let i = 0; i < 10_000; i++) rates.takeRequest('a')
    const engine = createScriptedEngine()
    assert.equal(rates.metered(engine, 'a'), engine)
  })

  it('are of each caller alone, and a caller’s own come before the common ones', () => {
    const rates = limits({ requestsPerSecond: 1 }, { vip: { requestsPerSecond: 2 } })
    assert.deepEqual(
      ['a', 'b', 'a', 'vip', 'vip', 'vip'].map((caller) => waitOf(() => rates.takeRequest(caller))),
      [undefined, undefined, 1000, undefined, undefined, 500],
    )
  })

  it('advise a wait after which the caller is let in, and not before (RL1)', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 50 }),
      (perSecond, pauses) => {
        const rates = limits({ requestsPerSecond: perSecond })
        const take = (): number | undefined => waitOf(() => rates.takeRequest('a'))
        for (const pause of pauses) {
          nowMs += pause
          while (take() === undefined);
          const waitMs = take() ?? 0
          nowMs += waitMs - 1
          assert.ok(waitMs <= 1 || take() !== undefined)
          nowMs += 1
          assert.equal(take(), undefined)
        }
      },
    )
    fc.assert(property, { numRuns: 50 })
  })

  it('forget who has not come for longest, beyond a bound (RL3)', () => {
    const rates = limits({ requestsPerSecond: 1 })
    rates.takeRequest('first')
    for (let i = 0; i < 16_384; i++) rates.takeRequest(`other ${i}`)
    assert.equal(
      waitOf(() => rates.takeRequest('first')),
      undefined,
    )
    assert.notEqual(
      waitOf(() => rates.takeRequest('other 16383')),
      undefined,
    )
  })

  describe('of tokens', () => {
    const options: GenerateOptions = { signal: new AbortController().signal }

    /** Runs a request that is charged so much and yields two tokens after a prompt of three. */
    async function run(rates: RateLimits, charged: number): Promise<number | undefined> {
      const engine = createScriptedEngine()
      const charging = {
        ...engine,
        generate: async function* (_: unknown, { charge }: GenerateOptions) {
          charge?.(charged)
          yield accepted('req')
          yield chunk(0, 0, 'a')
          yield chunk(0, 1, 'b')
          yield finished(0, 2)
        },
      }
      const input = { prompt: { kind: 'text', text: 'x' }, sampling: {} } as const
      try {
        for await (const event of rates.metered(charging, 'a').generate(input, options)) assert.ok(event)
        return undefined
      } catch (error) {
        return waitOf(() => {
          throw error
        })
      }
    }

    it('come back at the end as far as they were not used', async () => {
      const rates = limits({ tokensPerMinute: 60 })
      for (let i = 0; i < 11; i++) assert.equal(await run(rates, 10), undefined, `run ${i}`) // 5 each, 55 in all
      assert.equal(await run(rates, 10), 5_000)
      nowMs += 5_000
      assert.equal(await run(rates, 10), undefined)
    })

    it('beyond what the bucket ever holds are let in when it is full, and leave a debt (RL2)', async () => {
      const rates = limits({ tokensPerMinute: 4 })
      assert.equal(await run(rates, 100), undefined) // 5 used of 4
      assert.equal(await run(rates, 100), 75_000)
      nowMs += 75_000
      assert.equal(await run(rates, 100), undefined)
    })

    it('are all given back by a request that is refused after it was charged', async () => {
      const rates = limits({ tokensPerMinute: 10 })
      const engine = createScriptedEngine()
      const refusing = {
        ...engine,
        generate: async function* (_: unknown, { charge }: GenerateOptions) {
          charge?.(10)
          yield* []
          throw new ClusterError('resource_exhausted', 'queue')
        },
      }
      const input = { prompt: { kind: 'text', text: 'x' }, sampling: {} } as const
      for (let i = 0; i < 3; i++) {
        const events = rates.metered(refusing, 'a').generate(input, options)[Symbol.asyncIterator]()
        await assert.rejects(events.next(), /queue/)
      }
    })
  })

  it('go by the key, and by the address of who has none', () =>
    assert.deepEqual(
      [callerOf('alice', '1.2.3.4'), callerOf('', '::ffff:1.2.3.4'), callerOf('', undefined)],
      ['alice', '1.2.3.4', ''],
    ))
})
