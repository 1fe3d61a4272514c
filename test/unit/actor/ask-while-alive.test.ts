// When a worker that does not answer is given up: dead at once, silent when its answer is overdue, slow never.

import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { askWhileAlive } from '../../../lib/actor/ask-while-alive.js'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { pingActor, pingAddress } from '../../../lib/actor/ping.js'
import { createActorSystem } from '../../../lib/actor/system.js'
import { ClusterError } from '../../../lib/errors.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import { createManualClock, type ManualClock } from '../../../lib/actor/clock.js'

const ROUND_MS = 200

describe('askWhileAlive', () => {
  let clock: ManualClock
  let system: ActorSystem
  let close: () => Promise<void>
  let answer: () => void // lets the worker answer what it was asked
  let thaw: () => void
  let frozen: Promise<void> | undefined // pings wait for it

  beforeEach(() => {
    clock = createManualClock()
    const transport = createLocalTransport({ hub: createLocalHub() })
    system = createActorSystem({ transport, clock, random: () => 0.5, cluster: 'test', node: 'test' })
    close = async () => {
      answer()
      if (frozen !== undefined) thaw()
      await system.stop()
      await transport.close()
    }
    frozen = undefined
    const answered = new Promise<void>((resolve) => (answer = resolve))
    system.spawn({
      address: 'w',
      mailboxCapacity: 1,
      systemKinds: new Set(),
      create: () => ({ 'expert.cancel': () => answered }),
    })
  })
  afterEach(() => close())

  const freeze = (): void => {
    frozen = new Promise((resolve) => (thaw = resolve))
  }

  const spawnPing = (): void => {
    system.spawn({ ...pingActor('w'), create: () => ({ 'worker.ping': () => frozen }) })
  }

  function ask(overdueMs: number) {
    const message = { kind: 'expert.cancel', body: { step: 's' }, replyKind: 'request.done' } as const
    const outcome = { value: 'pending' }
    const asked = askWhileAlive(system, 'w', message, { timeoutMs: 60_000, overdueMs }).then(
      () => (outcome.value = 'answered'),
      (error: unknown) => (outcome.value = String(ClusterError.from(error).details.reason)),
    )
    return { outcome, asked }
  }

  const rounds = async (count: number, roundMs = ROUND_MS): Promise<void> => {
    for (let i = 0; i < count; i++) {
      clock.wake(roundMs)
      for (let turns = 0; turns < 6; turns++) await turn()
    }
  }

  it('waits for a worker that answers pings, however slow it is (K1)', async () => {
    spawnPing()
    const { outcome, asked } = ask(0)
    await rounds(200)
    assert.equal(outcome.value, 'pending')
    answer()
    await asked
    assert.deepEqual([outcome.value, clock.numTimers], ['answered', 0])
  })

  it('gives a worker up that is silent, 1.6 s after it was asked', async () => {
    spawnPing()
    freeze()
    const { outcome, asked } = ask(0)
    await rounds(7)
    assert.equal(outcome.value, 'pending')
    await rounds(1)
    await asked
    assert.deepEqual([outcome.value, clock.numTimers], ['SILENT', 0])
  })

  it('does not before the answer is overdue', async () => {
    spawnPing()
    freeze()
    const { outcome } = ask(5_000)
    await rounds(24)
    assert.equal(outcome.value, 'pending')
    await rounds(1)
    assert.equal(outcome.value, 'SILENT')
  })

  it('begins anew after every sign of life', async () => {
    spawnPing()
    const { outcome } = ask(0)
    for (let i = 0; i < 5; i++) {
      freeze()
      await rounds(5)
      thaw()
      frozen = undefined
      await rounds(1)
    }
    assert.equal(outcome.value, 'pending')
  })

  it('takes its own standing still for nobody’s silence (K2)', async () => {
    spawnPing()
    const { outcome } = ask(0)
    for (let i = 0; i < 5; i++) await rounds(1, 30_000)
    assert.equal(outcome.value, 'pending')
  })

  it('knows at its first ping that nobody is there any more', async () => {
    const { outcome } = ask(60_000)
    await rounds(1)
    assert.equal(outcome.value, 'NO_RESPONDERS')
  })

  it('a worker that says that it does not have the question has lost it, once the answer is overdue', async () => {
    system.spawn(pingActor('w', () => false))
    const { outcome } = ask(1_000)
    await rounds(4)
    assert.equal(outcome.value, 'pending')
    await rounds(2)
    assert.equal(outcome.value, 'LOST')
  })

  it('a worker that has the question is waited for', async () => {
    system.spawn(pingActor('w', system.isInHand))
    const { outcome } = ask(0)
    await rounds(20)
    assert.equal(outcome.value, 'pending')
  })

  it('a ping does not wait for what the worker does', async () => {
    spawnPing()
    const { outcome } = ask(0)
    const ping = { kind: 'worker.ping', body: { asker: 'test' }, replyKind: 'request.done' } as const
    await system.ask(pingAddress('w'), ping, { timeoutMs: 1_000 })
    assert.equal(outcome.value, 'pending')
  })
})
