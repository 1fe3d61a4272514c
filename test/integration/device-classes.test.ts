// Workers of another device class stand by, and serve when the class that served is gone: both routers name the same, and
// no request is computed by two.

import assert from 'node:assert/strict'
import { BanyanClient } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { ofClass } from '../helpers/of-class.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

interface Status {
  readonly fingerprint: string
  readonly deviceClasses: { readonly attention: string; readonly experts: string }
  readonly processes: readonly {
    readonly id: string
    readonly reserve?: boolean
    readonly state: string
    readonly shards: readonly number[]
    readonly load: Readonly<Record<string, number>>
  }[]
}

const statusOf = async ({ http }: TestCluster['router']): Promise<Status> =>
  (await (await fetch(`${http}/cluster`)).json()) as Status // the documented form

/** What a request was computed by, and how much of its prompt was there already. */
async function ask({ grpc }: TestCluster['router']) {
  const client = new BanyanClient({ address: grpc })
  const sampling = { temperature: 0, maxTokens: 24, ignoreEos: true }
  const tokens: number[] = []
  let fingerprint = ''
  let cachedTokens = -1
  try {
    for await (const event of client.generate({ text: 'export interface Options '.repeat(16), sampling })) {
      if (event.type === 'accepted') fingerprint = event.fingerprint
      if (event.type === 'chunk') tokens.push(...event.tokenIds)
      if (event.type === 'finished') cachedTokens = event.usage.cachedTokens
    }
  } finally {
    client.close()
  }
  return { fingerprint, tokens, cachedTokens }
}

describe('device classes', function () {
  this.timeout(60_000)

  it('a worker of another class is held in reserve, and serves when no other is left', async () => {
    const classOf: Readonly<Record<string, string>> = {
      'attention-0': 'webgpu-a',
      'expert-worker-0': 'cpu-b',
      'expert-worker-1': 'cpu-b',
      'expert-worker-2': 'webgpu-a',
    }
    const cluster = await startTestCluster({
      routers: 2,
      drafters: 0,
      neighbours: false,
      wrap: (id, transport) => {
        const deviceClass = classOf[id]
        return deviceClass === undefined ? transport : ofClass(transport, deviceClass)
      },
    })
    const inReserve = ({ processes }: Status): string[] =>
      processes.filter(({ reserve, state }) => reserve === true && state === 'ready').map(({ id }) => id)
    try {
      await cluster.addService('expert-worker')
      for (const router of cluster.routers) {
        await eventually(async () => inReserve(await statusOf(router)).length > 0, 'a worker in reserve')
        assert.deepEqual((await statusOf(router)).deviceClasses, { attention: 'webgpu-a', experts: 'cpu-b' })
      }
      const first = await ask(cluster.router)
      const again = await ask(cluster.router)
      assert.deepEqual([again.tokens, again.fingerprint], [first.tokens, first.fingerprint])
      assert.ok(again.cachedTokens > 0)
      const before = await statusOf(cluster.router)
      assert.deepEqual(inReserve(before), ['expert-worker-2'])
      const standby = before.processes.find(({ id }) => id === 'expert-worker-2')
      assert.deepEqual([standby?.shards, standby?.load.calls], [[], 0])

      await Promise.all(['expert-worker-0', 'expert-worker-1'].map((id) => cluster.stopService(id)))
      for (const router of cluster.routers) {
        const isOther = async (): Promise<boolean> =>
          (await fetch(`${router.http}/ready`)).status === 200 &&
          (await statusOf(router)).deviceClasses.experts === 'webgpu-a'
        await eventually(isOther, 'the reserve serves')
      }
      const answers = await Promise.all(cluster.routers.map(ask))
      const statuses = await Promise.all(cluster.routers.map(statusOf))
      assert.equal(new Set([...answers, ...statuses].map(({ fingerprint }) => fingerprint)).size, 1)
      assert.notEqual(answers[0]?.fingerprint, first.fingerprint)
      assert.equal(answers[0]?.cachedTokens, 0, 'what the other class computed is not gone on with')
      assert.deepEqual(answers[0].tokens, first.tokens) // the same processor, whatever it is called here
      assert.deepEqual(inReserve(await statusOf(cluster.router)), [])
    } finally {
      await cluster.stop()
    }
  })
})
