// A flood far above the bounds: every request ends exactly once, in tokens or in a typed refusal, both are counted, and the
// queues are empty afterwards. A stream that nobody reads holds nobody up.

import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { BanyanClient, BanyanError } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../helpers/test-cluster.js'

const NUM_REQUESTS = 2000
const BURST = 100 // requests begun in one turn: clients and servers share an event loop here
const MAX_WAITING = 32
const MAX_RUNNING = 8

async function metricsOf(cluster: TestCluster): Promise<Map<string, number>> {
  const text = await (await fetch(`${cluster.router.http}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const name = line
        .slice(0, line.lastIndexOf(' '))
        .replace(/,?model_name="[^"]*"/, '')
        .replace('{}', '')
      return [name, Number(line.slice(line.lastIndexOf(' ')))] as const
    }),
  )
}

async function load(cluster: TestCluster): Promise<{ running: number; waiting: number }> {
  const { requests } = (await (
    await fetch(`${cluster.router.http}/cluster`, { headers: { authorization: 'Bearer a' } })
  ).json()) as {
    requests: { running: number; waiting: number }
  }
  return requests
}

const isIdle = async (cluster: TestCluster): Promise<boolean> => {
  const { running, waiting } = await load(cluster)
  return running + waiting === 0
}

describe('overload', function () {
  this.timeout(120_000)
  let cluster: TestCluster
  const start = async (shape: ClusterShape): Promise<TestCluster> => (cluster = await startTestCluster(shape))
  afterEach(() => cluster.stop())

  it(`a flood of ${NUM_REQUESTS} requests: each ends once, accepted and refused make all, nothing is left`, async () => {
    await start({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING, drafters: 0, draft: [] })
    const client = new BanyanClient({ address: cluster.router.grpc, maxAttempts: 1 })
    await client.serverInfo() // connected before the flood
    const ends = new Map<string, number>()
    const retryAfterMs: number[] = []
    let numTokens = 0

    const one = async (i: number): Promise<void> => {
      const sampling = { maxTokens: 2, ignoreEos: true, seed: BigInt(i) }
      let end = ''
      try {
        for await (const event of client.generate({ tokens: [1 + (i % 50)], sampling }, { deadlineMs: 60_000 })) {
          if (event.type === 'chunk') numTokens += event.tokenIds.length
          if (event.type === 'finished') end += event.finishReason
        }
      } catch (error) {
        assert.ok(error instanceof BanyanError)
        end += error.reason === 'QUEUE_FULL' ? `${error.code} ${error.reason}` : error.message
        retryAfterMs.push(error.retryAfterMs ?? 0)
      }
      ends.set(end, (ends.get(end) ?? 0) + 1)
    }
    let highest = 0
    let isOver = false
    const watch = async (): Promise<void> => {
      while (!isOver) highest = Math.max(highest, (await load(cluster)).waiting)
    }
    const watching = watch()
    const all: Promise<void>[] = []
    for (let i = 0; i < NUM_REQUESTS; i++) {
      all.push(one(i))
      if (i % BURST === 0) await nextTurn()
    }
    await Promise.all(all)
    isOver = true
    await watching
    client.close()

    const finished = ends.get('length') ?? 0
    const refused = ends.get('resource_exhausted QUEUE_FULL') ?? 0
    assert.equal(finished + refused, NUM_REQUESTS, JSON.stringify([...ends]))
    assert.ok(finished >= MAX_WAITING && refused > 0, JSON.stringify([...ends]))
    assert.equal(numTokens, 2 * finished)
    // A worker that seems lost under this load gives its running ones back.
    assert.ok(highest <= MAX_WAITING + MAX_RUNNING, `${highest} waited`)
    assert.ok(retryAfterMs.every((ms) => ms >= 250 && ms <= 30_000))
    await eventually(() => isIdle(cluster), 'nothing runs or waits')
    const metrics = await metricsOf(cluster)
    assert.equal(metrics.get('banyan:requests_refused_total{reason="QUEUE_FULL"}'), refused)
    assert.equal(metrics.get('vllm:request_success_total{finished_reason="length"}'), finished)
    for (const priority of ['high', 'normal', 'low'])
      assert.equal(metrics.get(`banyan:waiting_sequences{priority="${priority}"}`), 0)
    assert.equal(metrics.get('vllm:kv_cache_usage_perc'), 0)
  })

  it('one key’s flood delays another key’s request by about one admission', async () => {
    await start({ maxRunning: 1, apiKeys: ['a', 'b'], drafters: 0, draft: [] })
    const [a, b] = ['a', 'b'].map((apiKey) => new BanyanClient({ address: cluster.router.grpc, apiKey }))
    const ended: string[] = []
    const ask = async (client: BanyanClient, name: string): Promise<void> => {
      await client.complete({ text: 'x', sampling: { maxTokens: 8, ignoreEos: true } })
      ended.push(name)
    }
    const flood = Array.from({ length: 60 }, () => ask(a!, 'a'))
    await eventually(async () => (await load(cluster)).waiting > 40, 'the flood waits')
    const before = ended.length
    await ask(b!, 'b')
    assert.ok(ended.indexOf('b') - before <= 4, `${ended.indexOf('b') - before} were before it`) // some end meanwhile
    await Promise.all(flood)
    for (const client of [a!, b!]) client.close()
  })

  it('high comes before normal, normal before low, at both doors', async () => {
    await start({ maxRunning: 1, drafters: 0, draft: [] })
    const client = new BanyanClient({ address: cluster.router.grpc })
    const order: string[] = []
    const first = client.complete({ text: 'x', sampling: { maxTokens: 200, ignoreEos: true } })
    await eventually(async () => (await load(cluster)).running === 1, 'the only place is taken')
    const overHttp = async (priority: string | number): Promise<void> => {
      const body = { prompt: 'x', max_tokens: 2, ignore_eos: true, priority }
      const response = await fetch(`${cluster.router.http}/v1/completions`, {
        method: 'POST',
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      })
      await response.json()
      assert.equal(response.status, 200)
      order.push(String(priority))
    }
    const overGrpc = async (priority: 'high' | 'normal' | 'low'): Promise<void> => {
      await client.complete({ text: 'x', sampling: { maxTokens: 2, ignoreEos: true }, priority })
      order.push(`grpc ${priority}`)
    }
    const waiting = [
      () => overHttp(7),
      () => overGrpc('low'),
      () => overHttp('normal'),
      () => overHttp(-1),
      () => overGrpc('high'),
    ]
    const all: Promise<void>[] = [first.then(() => undefined)]
    for (const [i, ask] of waiting.entries()) {
      all.push(ask())
      await eventually(async () => (await load(cluster)).waiting === i + 1, 'it waits')
    }
    await Promise.all(all)
    assert.deepEqual(order, ['-1', 'grpc high', 'normal', '7', 'grpc low'])
    client.close()
  })

  it('a stream that nobody reads is parked; others go on, and it ends with the same tokens once it is read', async () => {
    await start({ maxRunning: 1, drafters: 0, draft: [] })
    const client = new BanyanClient({ address: cluster.router.grpc })
    const request = { text: 'x', logprobs: 20, sampling: { maxTokens: 700, ignoreEos: true, seed: 1n } }
    const quiet = await client.complete(request)
    const slow = client.generate(request)
    await slow.next() // and then nothing for a while: the connection's buffers fill, then the log
    await eventually(async () => (await metricsOf(cluster)).get('banyan:parked_sequences') === 1, 'it is parked')
    const other = await client.complete({ text: 'y', sampling: { maxTokens: 4, ignoreEos: true } })
    assert.equal(other.usage.completionTokens, 4)
    const tokens: number[] = []
    for await (const event of slow) if (event.type === 'chunk') tokens.push(...event.tokenIds)
    assert.deepEqual(tokens, quiet.tokenIds)
    await eventually(() => isIdle(cluster), 'nothing runs or waits')
    client.close()
  })
})
