// When a draining expert worker may leave.

import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { pingActor } from '../../../lib/actor/ping.js'
import { createActorSystem } from '../../../lib/actor/system.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import { untilUnneeded } from '../../../services/expert-worker/drain.js'
import type { WantedBy } from '../../../services/expert-worker/wants.js'

const limits = { timeoutMs: 20_000 }

describe('a draining expert worker', () => {
  let system: ActorSystem
  beforeEach(() => {
    const transport = createLocalTransport({ hub: createLocalHub() })
    system = createActorSystem({ transport, clock: systemClock, random: () => 0, cluster: 'test', node: 'worker' })
    system.spawn(pingActor('alive'))
  })
  afterEach(() => system.stop())

  it('leaves at once when no router ever wanted a shard of it', async () => {
    assert.ok(await untilUnneeded({ ...limits, system, wantedBy: new Map(), numQueued: () => 0 }))
  })

  it('waits for the routers that live, not for those that died', async () => {
    const wantedBy: WantedBy = new Map([
      ['alive', [1, 2]],
      ['dead', [3]],
    ])
    let isReleased = false
    systemClock.after(200, () => {
      isReleased = true
      wantedBy.set('alive', [])
    })
    assert.ok(await untilUnneeded({ ...limits, system, wantedBy, numQueued: () => 0 }))
    assert.ok(isReleased)
    assert.deepEqual([...wantedBy.keys()], ['alive'])
  })

  it('leaves when its time is over, and says that it is needed still', async () => {
    const wantedBy: WantedBy = new Map([['alive', [1]]])
    assert.equal(await untilUnneeded({ timeoutMs: 60, system, wantedBy, numQueued: () => 0 }), false)
  })

  it('answers what is queued first', async () => {
    let numQueued = 3
    assert.ok(await untilUnneeded({ ...limits, system, wantedBy: new Map(), numQueued: () => numQueued-- }))
    assert.ok(numQueued < 0)
  })
})
