// A1 to A6 of `lib/actor/actor.ts`, over every transport.

import assert from 'node:assert/strict'
import { createManualClock, systemClock } from '../../lib/actor/clock.js'
import { createActorSystem } from '../../lib/actor/system.js'
import type { ActorDefinition, ActorSystem, Clock, Handlers } from '../../lib/actor/actor.js'
import { ClusterError, type ErrorCode } from '../../lib/errors.js'
import { createLocalHub, createLocalTransport } from '../../lib/transport/local.js'
import { connectNats } from '../../lib/transport/nats.js'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'

const LATE_MS = 250

const hasCode = (code: ErrorCode) => (error: unknown) => error instanceof ClusterError && error.code === code

function actor(address: string, handlers: () => Handlers, options: Partial<ActorDefinition> = {}): ActorDefinition {
  return { address, mailboxCapacity: 16, systemKinds: new Set(['expert.cancel']), create: handlers, ...options }
}

/** A gate that handlers wait at until the test opens it. */
function gate(): { open: () => void; passed: Promise<void> } {
  let open = (): void => undefined
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, passed }
}

interface Place {
  readonly kind: 'expert.place'
  readonly body: { router: string; tableEpoch: number; fingerprint: string; shards: number[] }
  readonly replyKind: 'expert.placed'
}

const place = (tableEpoch: number): Place => ({
  kind: 'expert.place',
  body: { router: 'r', tableEpoch, fingerprint: 'f', shards: [] },
  replyKind: 'expert.placed',
})

for (const kind of ['local', 'nats'] as const) {
  describe(`actors over ${kind}`, function () {
    this.timeout(20_000)
    let nats: TestNats | undefined
    const closers: (() => Promise<void>)[] = []

    before(async () => {
      if (kind === 'nats') nats = await startNatsForTest()
    })
    after(() => nats?.stop())
    afterEach(async () => {
      for (const close of closers.splice(0)) await close()
    })

    /** Two systems on one bus, as two processes have them. */
    async function pair(
      clock: Clock = systemClock,
    ): Promise<{ near: ActorSystem; far: ActorSystem; ready: () => Promise<void> }> {
      const hub = createLocalHub()
      const cluster = `c${Math.floor(performance.now() * 1000)}`
      const open = async (node: string) => {
        const transport =
          nats === undefined ? createLocalTransport({ hub }) : await connectNats({ url: nats.url, name: node })
        const system = createActorSystem({ transport, clock, random: Math.random, cluster, node })
        closers.push(async () => {
          await system.stop()
          await transport.close()
        })
        return { system, transport }
      }
      const near = await open('near')
      const far = await open('far')
      return { near: near.system, far: far.system, ready: () => far.transport.flush() }
    }

    it('answer what is asked of them', async () => {
      const { near, far, ready } = await pair()
      far.spawn(
        actor('a', () => ({
          'expert.place': ({ tableEpoch }) => ({ kind: 'expert.placed', tableEpoch, shards: [7] }),
        })),
      )
      await ready()
      assert.deepEqual((await near.ask('a', place(5), { timeoutMs: 2000 })).shards, [7])
    })

    it('handle one message at a time, in order, system messages first', async () => {
      const { near, far, ready } = await pair()
      const seen: string[] = []
      const door = gate()
      const handlers = (): Handlers => ({
        'expert.place': async ({ tableEpoch }) => {
          seen.push(`start ${tableEpoch}`)
          await door.passed
          seen.push(`end ${tableEpoch}`)
          return { kind: 'expert.placed', tableEpoch, shards: [] }
        },
        'expert.cancel': ({ step }) => void seen.push(step),
      })
      const ref = far.spawn(actor('a', handlers))
      await ready()
      const asked = [1, 2].map((epoch) => near.ask('a', place(epoch), { timeoutMs: 5000 }))
      near.tell('a', 'expert.cancel', { step: 'system' })
      await eventually(() => ref.queued === 2, 'two wait')
      door.open()
      await Promise.all(asked)
      assert.deepEqual(seen, ['start 1', 'end 1', 'system', 'start 2', 'end 2'])
    })

    it('refuse more than their mailbox holds', async () => {
      const { near, far, ready } = await pair()
      const door = gate()
      const handlers = (): Handlers => ({ 'expert.place': () => door.passed })
      far.spawn(actor('a', handlers, { mailboxCapacity: 1 }))
      await ready()
      const asked = [1, 2, 3].map((epoch) =>
        near.ask('a', { ...place(epoch), replyKind: 'request.done' as const }, { timeoutMs: 5000 }),
      )
      await assert.rejects(asked[2] ?? Promise.resolve(), hasCode('resource_exhausted'))
      door.open()
      await Promise.all(asked.slice(0, 2))
      assert.equal(far.deadLetters.get('mailbox-full'), 1)
    })

    it('answer with the handler’s own error', async () => {
      const { near, far, ready } = await pair()
      const failing = (): Handlers => ({
        'expert.place': () => {
          throw new ClusterError('failed_precondition', 'not mine', { details: { reason: 'WHY' } })
        },
      })
      far.spawn(actor('a', failing))
      await ready()
      const asked = near.ask('a', place(1), { timeoutMs: 2000 })
      await assert.rejects(
        asked,
        (error) => hasCode('failed_precondition')(error) && (error as ClusterError).details.reason === 'WHY',
      )
    })

    it('restart with a fresh state after a crash', async () => {
      const { near, far, ready } = await pair()
      let numStarts = 0
      const crashing = (): Handlers => {
        numStarts += 1
        let numHandled = 0
        return {
          'expert.place': ({ tableEpoch }) => {
            numHandled += 1
            if (tableEpoch === 0) throw new TypeError('a bug')
            return { kind: 'expert.placed', tableEpoch: numHandled, shards: [] }
          },
        }
      }
      far.spawn(actor('a', crashing))
      await ready()
      await near.ask('a', place(1), { timeoutMs: 2000 })
      await assert.rejects(near.ask('a', place(0), { timeoutMs: 2000 }), hasCode('internal'))
      assert.equal((await near.ask('a', place(1), { timeoutMs: 2000 })).tableEpoch, 1)
      assert.equal(numStarts, 2)
    })

    it('do not handle what came too late', async () => {
      const { near, far, ready } = await pair()
      const door = gate()
      const seen: number[] = []
      const slow = (): Handlers => ({
        'expert.place': async ({ tableEpoch }) => {
          seen.push(tableEpoch)
          await door.passed
        },
      })
      const ref = far.spawn(actor('a', slow))
      await ready()
      const first = near.ask('a', { ...place(1), replyKind: 'request.done' as const }, { timeoutMs: 15_000 })
      const late = near.ask('a', { ...place(2), replyKind: 'request.done' as const }, { timeoutMs: LATE_MS })
      const isRefused = assert.rejects(late, hasCode('deadline_exceeded'))
      // A deadline travels as a duration: over there it begins with the arrival, however long the way took.
      await eventually(() => ref.queued === 1, 'it waits behind the first')
      const heardMs = systemClock.monotonicMs()
      await isRefused
      await eventually(() => systemClock.monotonicMs() >= heardMs + LATE_MS, 'its deadline has passed over there, too')
      door.open()
      await first
      await eventually(() => far.deadLetters.get('late') === 1, 'it is a dead letter')
      assert.deepEqual(seen, [1])
    })

    it('refuse what they do not handle, and what nobody can read', async () => {
      const { near, far, ready } = await pair()
      far.spawn(actor('a', () => ({})))
      await ready()
      await assert.rejects(near.ask('a', place(1), { timeoutMs: 2000 }), hasCode('unimplemented'))
      assert.equal(far.deadLetters.get('no-handler'), 1)
    })

    it('can be watched: a stop is heard of', async () => {
      const { near, far, ready } = await pair()
      const ref = far.spawn(actor('a', () => ({})))
      await ready()
      const deaths: string[] = []
      near.watch('a', (error) => void deaths.push(error.message))
      near.broadcast('nowhere', 'expert.cancel', { step: 'x' })
      await assert.rejects(near.ask('a', place(1), { timeoutMs: 2000 }), hasCode('unimplemented')) // the watch has reached the bus
      await ref.stop()
      await eventually(() => deaths.length === 1, 'the death is heard of')
      assert.deepEqual(deaths, ['a: it stopped'])
    })
  })
}

describe('actors under a clock turned by hand', () => {
  it('are missed when their process falls silent', () => {
    const clock = createManualClock()
    const transport = createLocalTransport({ hub: createLocalHub() })
    const system = createActorSystem({ transport, clock, random: Math.random, cluster: 'c', node: 'n' })
    const deaths: string[] = []
    system.watch('far-away', (error) => void deaths.push(error.message))
    clock.advance(4_000)
    assert.deepEqual(deaths, [])
    clock.advance(2_000)
    assert.deepEqual(deaths, ['far-away: no heartbeat for 5000 ms'])
    void system.stop()
  })

  it('do what is asked of them in time, whatever the asker’s clock shows', async () => {
    const hub = createLocalHub()
    const systemAt = (node: string, aheadMs: number) => {
      const clock = { ...systemClock, now: () => systemClock.now() + aheadMs }
      return createActorSystem({
        transport: createLocalTransport({ hub }),
        clock,
        random: Math.random,
        cluster: 'c',
        node,
      })
    }
    const [late, early] = [systemAt('late', -3_600_000), systemAt('early', 3_600_000)]
    for (const system of [late, early])
      system.spawn(actor(`at-${system === late ? 'late' : 'early'}`, () => ({ 'worker.ping': () => undefined })))
    const ping = { kind: 'worker.ping', body: { asker: 'x' }, replyKind: 'request.done' } as const
    await late.ask('at-early', ping, { timeoutMs: 5_000 })
    await early.ask('at-late', ping, { timeoutMs: 5_000 })
    await Promise.all([late.stop(), early.stop()])
  })

  it('stop for good after too many crashes in a minute', async () => {
    const clock = createManualClock(1_000_000)
    const hub = createLocalHub()
    const transport = createLocalTransport({ hub })
    const system = createActorSystem({ transport, clock, random: Math.random, cluster: 'c', node: 'n' })
    const crashing = (): Handlers => ({
      'draft.forget': () => {
        throw new TypeError('a bug')
      },
    })
    system.spawn(actor('a', crashing))
    const gone = async (): Promise<boolean> => {
      const sequences: string[] = []
      const message = { kind: 'draft.forget', body: { sequences }, replyKind: 'request.done' } as const
      const code = await system.ask('a', message, { timeoutMs: 1000 }).then(
        () => 'ok',
        (error: unknown) => ClusterError.from(error).code,
      )
      clock.advance(5_000)
      return code === 'unavailable'
    }
    await eventually(gone, 'it gave up')
    await system.stop()
    assert.equal(clock.numTimers, 0)
    await transport.close()
  })
})
