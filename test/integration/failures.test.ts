// I2 and I6 in the core: a process that goes takes no token with it.

import assert from 'node:assert/strict'
import { BanyanClient, BanyanError } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../helpers/test-cluster.js'

const sampling = { temperature: 0.8, seed: 3n, maxTokens: 96, ignoreEos: true }
const request = { text: 'export interface ', sampling }

describe('a process goes in the middle of a stream', function () {
  this.timeout(60_000)
  let nats: TestNats
  let quiet: readonly number[]

  before(async () => {
    nats = await startNatsForTest()
    const cluster = await startTestCluster({ nats: nats.url })
    quiet = await generate(cluster, () => Promise.resolve())
    await cluster.stop()
  })
  after(() => nats.stop())

  /** Streams the request and calls `meanwhile` once, after the tenth token. */
  async function generate(cluster: TestCluster, meanwhile: () => Promise<void>): Promise<readonly number[]> {
    const client = new BanyanClient({ address: cluster.router.grpc, maxAttempts: 1, resumeTimeoutMs: 0 })
    const tokens: number[] = []
    let isCalled = false
    try {
      for await (const event of client.generate(request, { deadlineMs: 40_000 })) {
        if (event.type === 'chunk') tokens.push(...event.tokenIds)
        if (tokens.length < 10 || isCalled) continue
        isCalled = true
        await meanwhile()
      }
    } finally {
      client.close()
    }
    return tokens
  }

  const cases: readonly [title: string, shape: ClusterShape, victim: string][] = [
    ['an expert worker with a replica', { experts: 2, replicas: 2 }, 'expert-worker-0'],
    ['an expert worker without one: another loads its shards', { experts: 2 }, 'expert-worker-1'],
    ['one of two attention workers', { attention: 2 }, 'attention-0'],
    ['the other attention worker', { attention: 2 }, 'attention-1'],
    ['the drafter', {}, 'drafter-0'],
  ]
  for (const [title, shape, victim] of cases) {
    it(`${title}: the stream ends with the tokens of the quiet run`, async () => {
      const cluster = await startTestCluster({ ...shape, nats: nats.url })
      try {
        assert.deepEqual(await generate(cluster, () => cluster.stopService(victim)), quiet)
      } finally {
        await cluster.stop()
      }
    })
  }

  it('the routing table follows: a dead worker holds no shard', async () => {
    const cluster = await startTestCluster({ nats: nats.url, experts: 3, replicas: 2 })
    try {
      await cluster.stopService('expert-worker-2')
      const ready = async (): Promise<boolean> => (await fetch(`${cluster.router.http}/ready`)).status === 200
      await eventually(ready, 'ready again')
      assert.deepEqual(await generate(cluster, () => Promise.resolve()), quiet)
    } finally {
      await cluster.stop()
    }
  })

  it('the broker goes and comes back: the streams wait for it and go on', async () => {
    const first = await startNatsForTest()
    const cluster = await startTestCluster({ nats: first.url })
    let second: TestNats | undefined
    try {
      const tokens = await generate(cluster, async () => {
        await first.stop()
        second = await startNatsForTest({ port: Number(new URL(first.url).port) })
      })
      assert.deepEqual(tokens, quiet)
    } finally {
      await cluster.stop()
      await second?.stop()
    }
  })

  it('a router that stops ends its streams with a typed error', async () => {
    const cluster = await startTestCluster({ nats: nats.url })
    await assert.rejects(
      generate(cluster, () => cluster.router.stop()),
      (error) => error instanceof BanyanError && ['unavailable', 'cancelled', 'internal'].includes(error.code),
    )
    await cluster.stop()
  })
})
