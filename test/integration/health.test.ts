// gRPC health follows the cluster: it serves when the workers are there and the router is on the
// bus, and no more from the moment that it drains. `/ready` says the same. A worker is ready when a router has use for it.

import assert from 'node:assert/strict'
import * as grpc from '@grpc/grpc-js'
import { trace } from '@opentelemetry/api'
import { randomUUID } from 'node:crypto'
import { createActorSystem } from '../../lib/actor/system.js'
import { systemClock } from '../../lib/actor/clock.js'
import type { RunningService, ServiceDeps } from '../../lib/config/service.js'
import type { Health } from '../../lib/metrics/monitor.js'
import { createMetricsRegistry } from '../../lib/metrics/registry.js'
import { createLocalHub, createLocalTransport } from '../../lib/transport/local.js'
import { startAttention } from '../../services/attention/start.js'
import { startExpertWorker } from '../../services/expert-worker/start.js'
import { startRouter } from '../../services/router/start.js'
import { eventually } from '../helpers/eventually.js'
import { demoModel } from '../helpers/paths.js'
import { silent } from './doors/scripted-engine.js'

const SERVING = 1
const NOT_SERVING = 2

describe('gRPC health', () => {
  const hub = createLocalHub()
  const closers: (() => Promise<void>)[] = []
  after(async () => {
    for (const close of closers.reverse()) await close()
  })

  const connect = (id: string): ServiceDeps => {
    const transport = createLocalTransport({ hub })
    const system = createActorSystem({
      transport,
      clock: systemClock,
      random: Math.random,
      cluster: 'health',
      node: id,
    })
    closers.push(async () => {
      await system.stop()
      await transport.close()
    })
    const process_ = { id, cluster: 'health', incarnation: randomUUID(), pid: process.pid }
    return { system, transport, tracer: trace.getTracer('test'), logger: silent, ...process_ }
  }
  const started = <S extends RunningService>(service: S): S => {
    closers.push(() => service.stop())
    return service
  }

  /** What the service's own port would say. */
  const watched = (id: string): { readonly deps: ServiceDeps; readonly health: () => Health } => {
    let read: (() => Health) | undefined
    const watch = (next: () => Health): void => void (read = next)
    const registry = createMetricsRegistry('demo')
    const monitor = { registry, url: undefined, watch, close: () => Promise.resolve() }
    return { deps: { ...connect(id), monitor }, health: () => read?.() ?? assert.fail('want its word') }
  }

  it('is watched from before the workers come until the router drains', async () => {
    const model = { path: demoModel, weights: 'int8' } as const
    const deps = connect('router-0')
    let isConnected = true
    const transport = { ...deps.transport, usage: () => ({ ...deps.transport.usage(), isConnected }) }
    const router = started(
      await startRouter(
        { ...deps, transport },
        {
          model,
          host: '127.0.0.1',
          httpPort: 0,
          grpcPort: 0,
          apiKeys: ['key'], // health asks for none
          numAttention: 1,
          numExperts: 1,
          replicas: 1,
          rebalance: true,
          draft: [],
          draftSharing: 'off',
          acceptance: 'exact',
          maxTreeNodes: 1,
          tokenBudget: 512,
          prefillChunk: 256,
          prefixCache: false,
          maxRunning: 8,
          maxWaiting: 8,
        },
      ),
    )
    const seen: (number | undefined)[] = []
    const client = new grpc.Client(router.grpc, grpc.credentials.createInsecure())
    const same = (value: Buffer): Buffer => value
    const watch = client.makeServerStreamRequest('/grpc.health.v1.Health/Watch', same, same, Buffer.alloc(0))
    watch.on('data', (reply: Buffer) => void seen.push(reply[1])) // HealthCheckResponse { status = 1 }
    watch.on('error', () => undefined) // the door's end
    await eventually(() => seen.length > 0, 'the first word')
    assert.deepEqual(seen, [NOT_SERVING])

    const compute = { model, device: 'cpu', threads: 1, machineCode: true }
    const attention = { ...compute, kvTokens: 4096, microBatches: 1, hedge: true }
    started(await startExpertWorker(connect('expert-worker-0'), compute))
    started(await startAttention(connect('attention-0'), attention))
    await eventually(() => seen.length > 1, 'it serves')
    assert.deepEqual(seen, [NOT_SERVING, SERVING])

    const ready = async (): Promise<number> => (await fetch(`${router.http}/ready`)).status
    assert.equal(await ready(), 200)
    isConnected = false
    assert.equal(await ready(), 503, 'off the bus')
    await eventually(() => seen.length > 2, 'gRPC says so, too')
    isConnected = true
    await eventually(() => seen.length > 3, 'it serves again')
    assert.equal(await ready(), 200)

    const [more, foreign] = [watched('expert-worker-1'), watched('attention-1')]
    started(await startExpertWorker(more.deps, compute))
    await eventually(() => more.health().isReady, 'the routers placed shards on it')
    assert.ok(more.health().heartbeat.shards.length > 0)
    const other = { path: demoModel, weights: 'f32' } as const
    started(await startAttention(foreign.deps, { ...attention, model: other }))
    assert.equal(foreign.health().heartbeat.state, 'ready')
    assert.equal(foreign.health().isReady, false, 'no router serves its weights')

    await router.drain()
    await eventually(() => seen.length > 4, 'it serves no more')
    assert.deepEqual(seen, [NOT_SERVING, SERVING, NOT_SERVING, SERVING, NOT_SERVING])
    client.close()
  })
})
