// A service's own port: what it answers, to whom it does not, how it ends.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createManualClock, systemClock, systemRandom } from '../../../lib/actor/clock.js'
import { createActorSystem } from '../../../lib/actor/system.js'
import { watchLoopDelay } from '../../../lib/metrics/loop-delay.js'
import { startMonitor, type Health, type Monitor } from '../../../lib/metrics/monitor.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import type { Body } from '../../../lib/wire/messages.js'
import { eventually } from '../../helpers/eventually.js'
import { hasIpv6 } from '../../helpers/ipv6.js'
import { readSamples } from '../../helpers/samples.js'

describe('a service’s own port', () => {
  const transport = createLocalTransport({ hub: createLocalHub() })
  const system = createActorSystem({
    transport,
    clock: systemClock,
    random: systemRandom,
    cluster: 'c',
    node: 'drafter-0',
  })
  const about = { role: 'drafter', id: 'drafter-0', pid: 7, modelName: 'demo', system, transport } as const
  const heartbeat: Body<'worker.heartbeat'> = {
    role: 'drafter',
    id: 'drafter-0',
    incarnation: 'i',
    pid: 7,
    state: 'ready',
    deviceClass: 'abc',
    fingerprint: 'f',
    shards: [],
    capacity: { kvTokens: 0, maxRows: 0 },
    load: { stalls: 2, maxStallMs: 500 },
  }
  let monitor: Monitor
  let base: string

  beforeEach(async () => {
    monitor = await startMonitor({ ...about, address: { host: '127.0.0.1', port: 0 } })
    base = monitor.url?.replace(/\/metrics$/, '') ?? assert.fail('want a URL')
  })
  afterEach(() => monitor.close())
  after(async () => {
    await system.stop()
    await transport.close()
  })

  const says = (health: Partial<Health>): void => monitor.watch(() => ({ isReady: true, heartbeat, ...health }))

  it('is alive before the service says anything, and not ready', async () => {
    assert.equal((await fetch(`${base}/health`)).status, 200)
    const ready = await fetch(`${base}/ready`)
    assert.equal(ready.status, 503)
    assert.deepEqual(await ready.json(), {
      ready: false,
      role: 'drafter',
      id: 'drafter-0',
      pid: 7,
      state: 'starting',
      isConnected: true,
    })
  })

  it('is ready when the service is, and says how it stands', async () => {
    says({})
    const ready = await fetch(`${base}/ready`)
    assert.equal(ready.status, 200)
    const { ready: isReady, state, deviceClass } = (await ready.json()) as Record<string, unknown>
    assert.deepEqual([isReady, state, deviceClass], [true, 'ready', 'abc'])
    says({ isReady: false, heartbeat: { ...heartbeat, state: 'draining' } })
    assert.equal((await fetch(`${base}/ready`)).status, 503)
  })

  it('gives the series of its process in Prometheus’ text form', async () => {
    says({})
    const response = await fetch(`${base}/metrics`)
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
    const samples = readSamples(await response.text())
    const one = (name: string) => samples.find((sample) => sample.name === name)
    assert.equal(one('banyan:process_info')?.labels.device_class, 'abc')
    assert.equal(one('banyan:ready')?.value, 1)
    assert.equal(one('banyan:stalls_total')?.value, 2)
    assert.ok((one('process_resident_memory_bytes')?.value ?? 0) > 1e6)
    assert.ok(samples.some(({ name, labels }) => name === 'banyan:event_loop_delay_seconds' && labels.quantile === '1'))
    for (const { labels } of samples) assert.equal(labels.model_name, 'demo')
  })

  it('says the same start of the process at every scrape', async () => {
    const startOf = async () =>
      readSamples(await (await fetch(`${base}/metrics`)).text()).find(
        ({ name }) => name === 'process_start_time_seconds',
      )
    assert.deepEqual(await startOf(), await startOf())
  })

  it('reads only, and only what there is', async () => {
    const posted = await fetch(`${base}/metrics`, { method: 'POST', body: 'x' })
    assert.deepEqual([posted.status, posted.headers.get('allow')], [405, 'GET, HEAD'])
    const head = await fetch(`${base}/metrics?x=1`, { method: 'HEAD' })
    assert.deepEqual([head.status, await head.text()], [200, ''])
    for (const path of ['/', '/metrics/', '/../metrics2', '/constructor', '/%00']) {
      assert.equal((await fetch(`${base}${path}`)).status, 404, path)
    }
  })

  it('takes a few connections and closes the others', async () => {
    const port = Number(new URL(base).port)
    const sockets = Array.from({ length: 40 }, () => connect(port, '127.0.0.1').on('error', () => undefined))
    const closed = sockets.map((socket) => once(socket, 'close'))
    await Promise.race(closed)
    for (const socket of sockets.slice(0, 20)) socket.destroy()
    await Promise.all(closed.slice(0, 20))
    assert.equal(sockets.filter(({ destroyed }) => destroyed).length >= 20, true)
    for (const socket of sockets) socket.destroy()
  })

  it('refuses a port that is taken with a word', async () => {
    const address = { host: '127.0.0.1', port: Number(new URL(base).port) }
    await assert.rejects(startMonitor({ ...about, address }), /metrics port \d+ on 127\.0\.0\.1: .*EADDRINUSE/)
  })

  it('answers no more when it is closed, also with a connection open', async () => {
    await fetch(`${base}/health`) // kept alive
    await monitor.close()
    await assert.rejects(fetch(`${base}/health`))
  })

  it('has an IPv6 address in brackets in its URL', async function () {
    if (!hasIpv6()) this.skip()
    const quiet = await startMonitor({ ...about, address: { host: '::1', port: 0 } })
    assert.match(quiet.url ?? '', /^http:\/\/\[::1\]:\d+\/metrics$/)
    assert.equal((await fetch(quiet.url ?? '')).status, 200)
    await quiet.close()
  })

  it('remembers a late event loop for two windows, also where nobody looks', async () => {
    const clock = createManualClock()
    const delay = watchLoopDelay(clock)
    const stall = (): boolean => {
      for (const end = performance.now() + 100; performance.now() < end;);
      return true
    }
    await eventually(() => delay.quantile(1) > 0.05 || (stall(), false), 'a stall is seen')
    clock.advance(15_000)
    assert.ok(delay.quantile(1) > 0.05, 'the window before')
    clock.advance(15_000)
    assert.ok(delay.quantile(1) < 0.05, 'forgotten')
    delay.stop()
    assert.equal(clock.numTimers, 0)
  })

  it('opens no port where none is asked for', async () => {
    const quiet = await startMonitor({ ...about, address: undefined })
    assert.equal(quiet.url, undefined)
    await quiet.close()
  })
})
