// Whom an attention worker asks last, and how often it asks twice.

import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import { createManualClock, type ManualClock } from '../../../lib/actor/clock.js'
import { pingActor } from '../../../lib/actor/ping.js'
import { createActorSystem } from '../../../lib/actor/system.js'
import { createMetricsRegistry } from '../../../lib/metrics/registry.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import { createAttentionMetrics } from '../../../services/attention/metrics.js'
import { createExpertPeers, type ExpertPeers } from '../../../services/attention/expert-peers.js'
import { readSamples } from '../../helpers/samples.js'

describe('createExpertPeers', () => {
  let clock: ManualClock
  let system: ActorSystem
  let peers: ExpertPeers

  beforeEach(() => {
    clock = createManualClock()
    const transport = createLocalTransport({ hub: createLocalHub() })
    system = createActorSystem({ transport, clock, random: () => 0.5, cluster: 'test', node: 'test' })
    peers = createExpertPeers(system)
  })
  afterEach(() => system.stop())

  const replicas = [['a', 'b']]
  /** A step, and time for pings to be answered. */
  const step = async (): Promise<readonly string[]> => {
    peers.beginStep(replicas)
    for (let i = 0; i < 6; i++) await turn()
    return peers.avoided()
  }

  it('avoids a silent worker until it shows a sign of life (E2)', async () => {
    peers.avoid('a')
    clock.advance(60_000)
    assert.deepEqual(await step(), ['a'])
    system.spawn(pingActor('a'))
    assert.deepEqual(await step(), [])
  })

  it('ends the series of a worker that holds nothing any more', async () => {
    const registry = createMetricsRegistry('m')
    const counted = createExpertPeers(system, { hedges: true, metrics: createAttentionMetrics(registry) })
    const workers = async (): Promise<string[]> =>
      readSamples(await registry.text()).flatMap(({ labels: { worker } }) => worker ?? [])
    for (const worker of ['a', 'b']) counted.answered(worker, 2, 5)
    assert.deepEqual(await workers(), ['a', 'b', 'a', 'b'])
    counted.beginStep([['b']])
    assert.deepEqual(await workers(), ['b', 'b'])
  })

  it('an answer is a sign of life, too', () => {
    peers.avoid('a')
    clock.advance(60_000)
    peers.answered('a', 1, 500)
    assert.deepEqual(peers.avoided(), [])
  })

  it('pauses twice as long every time, until an answer comes in time (E2)', async () => {
    system.spawn(pingActor('a'))
    const pauseMs = async (): Promise<number> => {
      peers.avoid('a')
      const startMs = clock.now()
      while ((await step()).length > 0) clock.advance(10)
      return clock.now() - startMs
    }
    const pauses = [await pauseMs(), await pauseMs(), await pauseMs()]
    peers.answered('a', 1, 1)
    assert.deepEqual([...pauses, await pauseMs()], [250, 500, 1000, 250])
  })

  it('asks a second time for a twentieth of the calls, after a small burst (E3)', () => {
    const drain = (): number => {
      let count = 0
      while (peers.takeHedge()) count += 1
      return count
    }
    assert.equal(drain(), 10)
    for (let i = 0; i < 110; i++) peers.answered('a', 1, 1)
    assert.equal(drain(), 5)
    for (let i = 0; i < 10_000; i++) peers.answered('a', 1, 1)
    assert.equal(drain(), 10)
    assert.deepEqual(peers.load, { hedges: 25, hedgesWon: 0 })
  })

  it('forgets a worker that holds nothing any more', () => {
    peers.avoid('a')
    peers.beginStep([['b']])
    assert.deepEqual(peers.avoided(), [])
  })
})
