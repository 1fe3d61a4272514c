// A worker that stands still for a while takes no token with it: neither while it is silent nor when it wakes up late.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { BanyanClient } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { createFreezable, type Freezable } from '../helpers/freezable.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { PROMPTS } from '../helpers/prompts.js'
import { startTestCluster, type ClusterShape, type TestCluster } from '../helpers/test-cluster.js'

const STREAMS = 4
const FROZEN_MS = 3_000 // the fault itself

interface Row {
  readonly id: string
  readonly state: string
  readonly load: Readonly<Record<string, number>>
}

describe('a worker stands still in the middle of streams', function () {
  this.timeout(90_000)
  let nats: TestNats
  let quiet: (readonly number[])[]

  before(async () => {
    nats = await startNatsForTest()
    const cluster = await startTestCluster({ nats: nats.url })
    quiet = await streams(cluster, () => undefined)
    await cluster.stop()
  })
  after(() => nats.stop())

  /** All streams at once; `meanwhile` runs once, after some stream's tenth token. */
  async function streams(cluster: TestCluster, meanwhile: () => void): Promise<(readonly number[])[]> {
    const client = new BanyanClient({ address: cluster.router.grpc, maxAttempts: 1 })
    let isCalled = false
    const one = async (i: number): Promise<readonly number[]> => {
      const tokens: number[] = []
      const sampling = { temperature: i % 2 === 0 ? 0 : 0.9, seed: BigInt(i), maxTokens: 96, ignoreEos: true }
      for await (const event of client.generate({ text: PROMPTS[i] ?? 'a', sampling }, { deadlineMs: 60_000 })) {
        if (event.type === 'chunk') tokens.push(...event.tokenIds)
        if (tokens.length < 10 || isCalled) continue
        isCalled = true
        meanwhile()
      }
      return tokens
    }
    try {
      return await Promise.all(Array.from({ length: STREAMS }, (_, i) => one(i)))
    } finally {
      client.close()
    }
  }

  const row = async (cluster: TestCluster, id: string): Promise<Row | undefined> => {
    const answer = (await (await fetch(`${cluster.router.http}/cluster`)).json()) as { processes: Row[] } // the documented form
    return answer.processes.find((candidate) => candidate.id === id)
  }
  const isState = async (cluster: TestCluster, id: string, state: string): Promise<boolean> =>
    (await row(cluster, id))?.state === state

  const cases: readonly [title: string, shape: ClusterShape, victim: string][] = [
    ['an expert worker with a replica', { experts: 2, replicas: 2, attention: 2 }, 'expert-worker-0'],
    ['an expert worker without one: another loads its shards', { experts: 2 }, 'expert-worker-0'],
    ['one of two attention workers', { attention: 2 }, 'attention-0'],
    ['the only attention worker: the streams wait for it', {}, 'attention-0'],
    ['the drafter', {}, 'drafter-0'],
  ]
  for (const [title, shape, victim] of cases) {
    it(`${title}: every stream has the tokens of the quiet run, before it wakes and after`, async () => {
      let frozen: Freezable | undefined
      let seen: Promise<void> | undefined
      let woken: Promise<void> | undefined
      const wrap: ClusterShape['wrap'] = (id, transport) =>
        id === victim ? (frozen = createFreezable(transport)).transport : transport
      const cluster = await startTestCluster({ ...shape, nats: nats.url, wrap })
      try {
        const tokens = await streams(cluster, () => {
          frozen?.freeze()
          seen = eventually(() => isState(cluster, victim, 'suspect'), `${victim} is suspect`, FROZEN_MS)
          woken = sleep(FROZEN_MS).then(() => frozen?.thaw())
        })
        assert.deepEqual(tokens, quiet)
        await Promise.all([seen, woken])
        await eventually(() => isState(cluster, victim, 'ready'), `${victim} is back`)
        assert.deepEqual(await streams(cluster, () => undefined), quiet)
        if (shape.replicas !== 2) return
        const loads = await Promise.all(['attention-0', 'attention-1'].map((id) => row(cluster, id)))
        assert.ok(
          loads.some((worker) => (worker?.load.hedgesWon ?? 0) > 0),
          'somebody asked the other replica',
        )
      } finally {
        frozen?.thaw()
        await cluster.stop()
      }
    })
  }
})
