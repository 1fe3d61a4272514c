// Expert shards move to where workers have less to do, while streams run: none fails, and every token is that of a quiet
// cluster that moves nothing.

import assert from 'node:assert/strict'
import { BanyanClient } from '../../sdk/src/index.js'
import { startNatsForTest } from '../helpers/nats.js'
import { PROMPTS } from '../helpers/prompts.js'
import { readSamples } from '../helpers/samples.js'
import { writeSkewedModel, type SkewedModel } from '../helpers/skewed-model.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const STREAMS = 8
const EXPERTS = ['expert-worker-0', 'expert-worker-1', 'expert-worker-2', 'expert-worker-3']
const GIVE_UP_MS = 40_000

interface Status {
  readonly epoch: number
  readonly processes: readonly { readonly role: string; readonly shards: readonly number[] }[]
  readonly placement: { readonly imbalance: number | null; readonly moves: number; readonly shards: number }
}

const statusOf = async ({ http }: TestCluster['router']): Promise<Status> =>
  (await (await fetch(`${http}/cluster`)).json()) as Status // the documented form

/** One round of all streams, each through one of the routers in turn. */
async function round(clients: readonly BanyanClient[]): Promise<(readonly number[])[]> {
  const one = async (i: number): Promise<readonly number[]> => {
    const tokens: number[] = []
    const sampling = { temperature: i % 2 === 0 ? 0 : 0.9, seed: BigInt(i), maxTokens: 64, ignoreEos: true }
    const client = clients[i % clients.length]
    assert.ok(client !== undefined)
    for await (const event of client.generate({ text: PROMPTS[i] ?? 'a', sampling }, { deadlineMs: 60_000 })) {
      if (event.type === 'chunk') tokens.push(...event.tokenIds)
    }
    return tokens
  }
  return Promise.all(Array.from({ length: STREAMS }, (_, i) => one(i)))
}

describe('expert shards are rebalanced under load', function () {
  this.timeout(90_000)
  let model: SkewedModel

  before(() => {
    model = writeSkewedModel(EXPERTS)
  })
  after(() => model.remove())

  it('skewed load on 4 expert workers, two routers: the busiest has less to do, no token differs', async () => {
    const nats = await startNatsForTest()
    const shape = { model: model.path, experts: EXPERTS.length, drafters: 0 }
    const quietCluster = await startTestCluster({ ...shape, rebalance: false })
    const quietClient = new BanyanClient({ address: quietCluster.router.grpc, maxAttempts: 1 })
    const quiet = await round([quietClient])
    quietClient.close()
    await quietCluster.stop()

    const cluster = await startTestCluster({ ...shape, nats: nats.url, routers: 2 })
    const clients = cluster.routers.map(({ grpc }) => new BanyanClient({ address: grpc, maxAttempts: 1 }))
    try {
      let before = 0
      let status = await statusOf(cluster.router)
      const giveUpMs = Date.now() + GIVE_UP_MS
      do {
        assert.deepEqual(await round(clients), quiet)
        status = await statusOf(cluster.router)
        if (status.placement.moves === 0) before = status.placement.imbalance ?? before
        assert.ok(Date.now() < giveUpMs, `moved and more even than ${before}: ${JSON.stringify(status.placement)}`)
      } while (status.placement.moves === 0 || before === 0 || (status.placement.imbalance ?? 9) > 0.8 * before)
      assert.ok(before > 1.5, `skewed at first: ${before}`)

      const tables = await Promise.all(cluster.routers.map(statusOf))
      const held = status.processes.filter(({ role }) => role === 'expert-worker').map(({ shards }) => shards.length)
      assert.ok(
        Math.max(...held) <= status.placement.shards / EXPERTS.length + 2,
        'an even share, one more, one on its way',
      )
      assert.equal(tables[1]?.placement.moves, 0, 'the lead alone decides')
      const samples = readSamples(await (await fetch(`${cluster.router.http}/metrics`)).text())
      const valueOf = (name: string): number => samples.find((sample) => sample.name === name)?.value ?? 0
      assert.ok(valueOf('banyan:rebalance_moves_total') > 0 && valueOf('banyan:expert_worker_imbalance_ratio') >= 1)
    } finally {
      for (const client of clients) client.close()
      await cluster.stop()
      await nats.stop()
    }
  })
})
