// The size of a cluster changes under load: no stream fails, and every token is that of the quiet run.

import assert from 'node:assert/strict'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { streamsDuring } from '../helpers/streams-during.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../helpers/test-cluster.js'

interface Status {
  readonly epoch: number
  readonly processes: readonly { readonly id: string; readonly state: string; readonly shards: readonly number[] }[]
  readonly placement: { readonly shards: number; readonly replicas: number; readonly copies: number }
}

const statusOf = async ({ router }: TestCluster): Promise<Status> =>
  (await (await fetch(`${router.http}/cluster`)).json()) as Status // the documented form

const during = (cluster: TestCluster, meanwhile: () => Promise<void>): Promise<(readonly number[])[][]> =>
  streamsDuring(() => [cluster.router.grpc], meanwhile)

const expertWorkers = (count: number): string[] => Array.from({ length: count }, (_, i) => `expert-worker-${i}`)

/** Waits until exactly these hold the shards, every shard so many times in the router's table. */
const placed = (cluster: TestCluster, workers: readonly string[], copies: number): Promise<void> =>
  eventually(
    async () => {
      const { processes, placement } = await statusOf(cluster)
      const holding = processes.filter(({ state, shards }) => state === 'ready' && shards.length > 0)
      const numHeld = holding.reduce((sum, { shards }) => sum + shards.length, 0)
      return (
        placement.copies === copies &&
        numHeld === copies * placement.shards &&
        holding.length === workers.length &&
        holding.every(({ id }) => workers.includes(id))
      )
    },
    `every shard on ${copies} of ${workers.join(', ')}`,
  )

async function setReplicas({ router }: TestCluster, replicas: number): Promise<void> {
  const body = JSON.stringify({ replicas })
  const response = await fetch(`${router.http}/cluster/scale`, { method: 'POST', body })
  assert.equal(response.status, 200, await response.text())
}

describe('a cluster changes its size under load', function () {
  this.timeout(120_000)
  let nats: TestNats
  let quiet: readonly (readonly number[])[]

  before(async () => {
    nats = await startNatsForTest()
    const cluster = await startTestCluster({ nats: nats.url })
    const [round = []] = await during(cluster, () => Promise.resolve())
    quiet = round
    await cluster.stop()
  })
  after(() => nats.stop())

  const changes: readonly [title: string, change: (cluster: TestCluster) => Promise<void>][] = [
    [
      'expert workers 2 → 4 → 1',
      async (cluster) => {
        await Promise.all([cluster.addService('expert-worker'), cluster.addService('expert-worker')])
        await placed(cluster, expertWorkers(4), 1)
        await Promise.all(
          expertWorkers(4)
            .slice(1)
            .map((id) => cluster.drainService(id)),
        )
        await placed(cluster, expertWorkers(1), 1)
      },
    ],
    [
      'attention workers 1 → 2 → 1, the first one goes',
      async (cluster) => {
        await cluster.addService('attention')
        await cluster.drainService('attention-0')
      },
    ],
    [
      'the only attention worker drains: its sequences wait for the next',
      async (cluster) => {
        await cluster.drainService('attention-0')
        await cluster.addService('attention')
      },
    ],
    [
      'replicas 1 → 2 → 1',
      async (cluster) => {
        await setReplicas(cluster, 2)
        await placed(cluster, expertWorkers(2), 2)
        await setReplicas(cluster, 1)
        await placed(cluster, expertWorkers(2), 1)
      },
    ],
    [
      'drafters 1 → 0 → 1',
      async (cluster) => {
        await cluster.drainService('drafter-0')
        await cluster.addService('drafter')
      },
    ],
  ]
  for (const transport of ['nats', 'local'] as const) {
    for (const [title, change] of changes) {
      it(`${transport}: ${title}`, async () => {
        // Each shard as often as was asked for, and not once more where it is busy: that is counted here.
        const shape: ClusterShape = { rebalance: false, ...(transport === 'nats' && { nats: nats.url }) }
        const cluster = await startTestCluster(shape)
        try {
          for (const round of await during(cluster, () => change(cluster))) assert.deepEqual(round, quiet)
        } finally {
          await cluster.stop()
        }
      })
    }
  }

  it('the last replica drains in its time, not in its deadline', async () => {
    const cluster = await startTestCluster({ nats: nats.url })
    try {
      const startedMs = Date.now()
      await cluster.drainService('expert-worker-1')
      assert.ok(Date.now() - startedMs < 10_000, 'it left when the other had its shards')
      await placed(cluster, expertWorkers(1), 1)
    } finally {
      await cluster.stop()
    }
  })

  it('an expert worker that crashed and came back has its share again', async () => {
    const cluster = await startTestCluster({ nats: nats.url })
    try {
      await cluster.stopService('expert-worker-0')
      await placed(cluster, ['expert-worker-1'], 1)
      await cluster.addService('expert-worker')
      await placed(cluster, expertWorkers(2), 1)
      const { processes, placement } = await statusOf(cluster)
      const shares = processes.filter(({ state, shards }) => state === 'ready' && shards.length > 0)
      assert.ok(shares.every(({ shards }) => shards.length === placement.shards / 2))
    } finally {
      await cluster.stop()
    }
  })

  it('says who scales processes where no `up` keeps them, and refuses what is no size', async () => {
    const cluster = await startTestCluster({ nats: nats.url })
    const post = async (body: unknown): Promise<[number, string]> => {
      const response = await fetch(`${cluster.router.http}/cluster/scale`, {
        method: 'POST',
        body: JSON.stringify(body),
      })
      return [response.status, await response.text()]
    }
    try {
      const [status, text] = await post({ experts: 3 })
      assert.equal(status, 400)
      assert.match(text, /kubectl scale/)
      for (const body of [{}, { experts: 0 }, { replicas: 17 }, { replicas: 'many' }, { workers: 3 }]) {
        assert.equal((await post(body))[0], 400, JSON.stringify(body))
      }
      assert.equal((await statusOf(cluster)).placement.replicas, 1)
    } finally {
      await cluster.stop()
    }
  })
})
