// When what a worker holds for a router may go.

import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { createManualClock, type ManualClock } from '../../../lib/actor/clock.js'
import { watchRouters, type RouterWatch } from '../../../lib/actor/router-watch.js'
import { createActorSystem } from '../../../lib/actor/system.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import { subjects } from '../../../lib/wire/subjects.js'

describe('watchRouters', () => {
  let clock: ManualClock
  let system: ActorSystem
  let watch: RouterWatch
  let gone: string[]

  beforeEach(() => {
    clock = createManualClock()
    const transport = createLocalTransport({ hub: createLocalHub() })
    system = createActorSystem({ transport, clock, random: () => 0.5, cluster: 'test', node: 'test' })
    gone = []
    watch = watchRouters({
      system,
      cluster: 'test',
      incarnation: 'own',
      onGone: (...what) => gone.push(what.join(' ')),
    })
  })
  afterEach(async () => {
    watch.stop()
    assert.equal(clock.numTimers, 0)
    await system.stop()
  })

  const beat = async (fields: Partial<Heartbeat>): Promise<void> => {
    system.broadcast(subjects.health('test'), 'worker.heartbeat', {
      role: 'router',
      id: 'router-0',
      incarnation: 'first',
      pid: 1,
      state: 'ready',
      deviceClass: 'none',
      fingerprint: 'f',
      shards: [],
      capacity: { kvTokens: 0, maxRows: 0 },
      load: {},
      ...fields,
    })
    await turn()
  }
  const own = (): Promise<void> => beat({ role: 'attention', id: 'attention-0', incarnation: 'own' })

  const seconds = async (count: number, beats: () => Promise<void>): Promise<void> => {
    for (let i = 0; i < count * 4; i++) {
      clock.advance(250)
      await beats()
    }
  }

  it('a router that says so is gone', async () => {
    await beat({})
    await beat({ state: 'stopped' })
    assert.deepEqual([gone, watch.isGone('first')], [['router-0 first '], true])
  })

  it('one of a checkpoint is heard from its first word until it is gone', async () => {
    assert.ok(!watch.isHeard('f'))
    await beat({ fingerprint: 'another' })
    assert.ok(!watch.isHeard('f'))
    await beat({ id: 'router-1', incarnation: 'other' })
    assert.ok(watch.isHeard('f'))
    await beat({ id: 'router-1', incarnation: 'other', state: 'stopped' })
    assert.ok(!watch.isHeard('f'))
  })

  it('a new incarnation ends the one before, which never counts again', async () => {
    await beat({})
    await beat({ incarnation: 'second' })
    await beat({})
    assert.deepEqual(gone, ['router-0 first second'])
    assert.deepEqual([watch.isGone('first'), watch.isGone('second')], [true, false])
  })

  it('one that is silent for fifteen seconds is gone until it is heard again', async () => {
    await beat({})
    await beat({ id: 'router-1', incarnation: 'other' })
    await seconds(17, async () => {
      await own()
      await beat({ id: 'router-1', incarnation: 'other' })
    })
    assert.deepEqual([gone, watch.isGone('first')], [['router-0 first '], true])
    await beat({})
    assert.equal(watch.isGone('first'), false)
  })

  it('a worker that hears nobody, not even itself, forgets nobody', async () => {
    await own()
    await beat({})
    await seconds(60, () => Promise.resolve())
    await own()
    await beat({})
    await seconds(2, own)
    assert.deepEqual(gone, [])
  })
})
