// All routers come to one number of replicas, in whatever order they hear of the wishes (K1).

import assert from 'node:assert/strict'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { createManualClock } from '../../../lib/actor/clock.js'
import { ClusterError } from '../../../lib/errors.js'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import type { Sizes } from '../../../lib/wire/sizes.js'
import { createScaling, type Scaling } from '../../../services/router/scaling.js'

const clock = createManualClock(1_000)

const router = (replicas = 1, up?: Sizes): { readonly scaling: Scaling; readonly taken: number[] } => {
  const taken: number[] = []
  const ask = (): Promise<unknown> =>
    up === undefined
      ? Promise.reject(new ClusterError('unavailable', 'nobody', { details: { reason: 'NO_RESPONDERS' } }))
      : Promise.resolve({ kind: 'cluster.scaled', ...up })
  const system = { clock, ask } as unknown as ActorSystem // all that scaling uses of it
  return { scaling: createScaling({ system, replicas, onReplicas: (count) => void taken.push(count) }), taken }
}

const heartbeat = ({ scaling }: { readonly scaling: Scaling }): Heartbeat => ({
  kind: 'worker.heartbeat',
  role: 'router',
  id: 'r',
  incarnation: 'r',
  pid: 1,
  state: 'ready',
  deviceClass: 'none',
  fingerprint: 'f',
  shards: [],
  capacity: { kvTokens: 0, maxRows: 0 },
  load: {},
  replicas: scaling.replicas,
})

describe('scaling', () => {
  it('a wish reaches the others, and one that starts later with another setting', async () => {
    const [first, second, later] = [router(), router(), router(4)]
    await first.scaling.scale({ replicas: 3 })
    second.scaling.observe(heartbeat(first))
    later.scaling.observe(heartbeat(second))
    for (const { taken } of [first, second, later]) assert.deepEqual(taken, [3])
    first.scaling.observe(heartbeat(router(7))) // a setting is no wish
    assert.equal(first.scaling.replicas.count, 3)
  })

  it('of two wishes the later one holds, of two of one moment the larger', async () => {
    const [first, second] = [router(), router()]
    await first.scaling.scale({ replicas: 3 })
    await second.scaling.scale({ replicas: 2 })
    const [one, two] = [heartbeat(first), heartbeat(second)]
    first.scaling.observe(two)
    second.scaling.observe(one)
    assert.deepEqual([first.scaling.replicas.count, second.scaling.replicas.count], [3, 3])
    await second.scaling.scale({ replicas: 1 }) // the clock stands still
    first.scaling.observe(heartbeat(second))
    assert.equal(first.scaling.replicas.count, 1)
  })

  it('without `up` replicas can be changed, processes cannot, and nothing is changed then', async () => {
    const { scaling, taken } = router()
    await assert.rejects(
      scaling.scale({ experts: 3, replicas: 2 }),
      (error) => error instanceof ClusterError && error.code === 'failed_precondition' && /kubectl/.test(error.message),
    )
    assert.deepEqual(taken, [])
    assert.deepEqual(await scaling.scale({ replicas: 2 }), { replicas: 2 })
  })

  it('answers with the sizes that `up` keeps', async () => {
    const up = { routers: 1, attention: 1, experts: 4, drafters: 0, replicas: 1 }
    assert.deepEqual(await router(1, up).scaling.scale({ experts: 4 }), up)
  })
})
