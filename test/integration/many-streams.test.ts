// 32 streams at once: all finish, none starves, nothing is left behind.

import assert from 'node:assert/strict'
import { BanyanClient } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { PROMPTS } from '../helpers/prompts.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const STREAMS = 32
const TOKENS = 128

describe('many streams at once', function () {
  this.timeout(60_000)
  let nats: TestNats
  let cluster: TestCluster

  before(async () => {
    nats = await startNatsForTest()
    cluster = await startTestCluster({ nats: nats.url })
  })
  after(async () => {
    await cluster.stop()
    await nats.stop()
  })

  /** Milliseconds between the tokens of one stream. */
  async function gaps(client: BanyanClient, i: number): Promise<number[]> {
    const found: number[] = []
    let numTokens = 0
    let last: number | undefined
    const sampling = { temperature: 0.8, seed: BigInt(i), maxTokens: TOKENS, ignoreEos: true }
    for await (const event of client.generate({ text: PROMPTS[i % PROMPTS.length] ?? 'a', sampling })) {
      if (event.type !== 'chunk') continue
      const now = performance.now()
      if (last !== undefined) found.push(now - last)
      last = now
      numTokens += event.tokenIds.length
    }
    assert.equal(numTokens, TOKENS)
    return found
  }

  const runAll = async (): Promise<number[][]> => {
    const client = new BanyanClient({ address: cluster.router.grpc })
    const all = await Promise.all(Array.from({ length: STREAMS }, (_, i) => gaps(client, i)))
    client.close()
    return all
  }

  it('all finish, and no stream’s longest gap is over 20 times the median gap', async () => {
    const all = await runAll()
    const sorted = all.flat().sort((a, b) => a - b)
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0
    const longest = Math.max(...all.map((stream) => Math.max(...stream)))
    assert.ok(longest <= 20 * median, `longest gap ${longest.toFixed(1)} ms, median ${median.toFixed(1)} ms`)
  })

  it('nothing runs or waits afterwards, and no KV is held', async () => {
    const response = await fetch(`${cluster.router.http}/cluster`)
    const { requests } = (await response.json()) as { requests: unknown } // the documented form
    assert.deepEqual(requests, { running: 0, waiting: 0 })
    const held = async (): Promise<string | undefined> => {
      const metrics = await (await fetch(`${cluster.router.http}/metrics`)).text()
      return /^vllm:kv_cache_usage_perc\S* (\S+)$/m.exec(metrics)?.[1]
    }
    await eventually(async () => (await held()) === '0', 'the KV cache is empty')
  })
})
