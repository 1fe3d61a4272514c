import assert from 'node:assert/strict'
import { waitReady } from '../../../cli/cluster/wait-ready.js'
import { connectLocal } from '../../../cli/cluster/local.js'
import type { ClusterError } from '../../../lib/errors.js'
import { createLocalHub } from '../../../lib/transport/local.js'

describe('waitReady', () => {
  const hub = createLocalHub()
  const bus = connectLocal(hub, 'test', 'up')
  const services = connectLocal(hub, 'test', 'router-0')
  after(() => Promise.all([bus.stop(), services.stop()]))

  const serve = (router: string, isReady: (numAsked: number) => boolean, more: object = {}): void => {
    let numAsked = 0
    services.spawn({
      address: router,
      mailboxCapacity: 16,
      systemKinds: new Set(),
      create: () => ({
        'cluster.status': () => ({
          kind: 'cluster.state',
          json: JSON.stringify({ ready: isReady((numAsked += 1)), ...more }),
        }),
      }),
    })
  }
  const signal = new AbortController().signal

  it('asks until the router can serve', async () => {
    serve('router-0', (numAsked) => numAsked >= 3)
    await waitReady(bus, ['router-0'], { timeoutMs: 10_000, signal })
  })

  it('names the router that is never ready, and what it said', async () => {
    serve('router-1', () => false)
    await assert.rejects(
      waitReady(bus, ['router-1'], { timeoutMs: 30, signal }),
      (error: ClusterError) =>
        error.code === 'deadline_exceeded' && /router-1: want it ready .* found not ready/.test(error.message),
    )
  })

  it('ends with what a worker says of a model that it cannot hold', async () => {
    serve('router-2', () => false, { refusal: { code: 'invalid_argument', message: 'worker-0: NaN', details: {} } })
    await assert.rejects(
      waitReady(bus, ['router-2'], { timeoutMs: 10_000, signal }),
      (error: ClusterError) => error.code === 'invalid_argument' && error.message === 'worker-0: NaN',
    )
  })

  it('ends with what shards want where no worker has room for them', async () => {
    const lack = 'shard 3 has no expert worker with room: each wants 2.00 GB'
    serve('router-3', () => false, { placement: { shards: 8, lack } })
    await assert.rejects(
      waitReady(bus, ['router-3'], { timeoutMs: 10_000, signal }),
      (error: ClusterError) => error.code === 'resource_exhausted' && error.message === lack,
    )
  })

  it('ends when the start is interrupted', async () => {
    const waiting = waitReady(bus, ['router-9'], { timeoutMs: 10_000, signal: AbortSignal.abort() })
    await assert.rejects(waiting, (error: ClusterError) => error.code === 'cancelled')
  })
})
