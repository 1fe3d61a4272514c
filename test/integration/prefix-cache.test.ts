// I1 with the prefix cache: requests that share a beginning get the tokens that they get alone, however much of it was
// computed by others before them.

import assert from 'node:assert/strict'
import { BanyanClient } from '../../sdk/src/index.js'
import { generateAll, type Job } from '../helpers/generate-all.js'
import { startTestCluster, type ClusterShape } from '../helpers/test-cluster.js'

const shared = Array.from({ length: 300 }, (_, i) => 20 + ((i * 37) % 1900))
const jobs = Array.from({ length: 12 }, (_, i): Job => {
  const tokens = [...shared.slice(0, 300 - 23 * (i % 4)), ...Array.from({ length: 1 + i * 5 }, (_, j) => 30 + i + j)]
  const temperature = i % 2 === 0 ? 0 : 0.8
  return { name: `${i}`, request: { tokens, sampling: { temperature, seed: 3n, maxTokens: 24, ignoreEos: true } } }
})

describe('the prefix cache', function () {
  this.timeout(60_000)
  let plain: Record<string, readonly number[]>

  before(async () => {
    const cluster = await startTestCluster({ prefixCache: false, draft: [], drafters: 0 })
    plain = await generateAll(cluster.router.grpc, jobs, 'alone')
    await cluster.stop()
  })

  const shapes: readonly [string, ClusterShape][] = [
    ['one after another, with lookup drafts', {}],
    ['two attention workers', { attention: 2 }],
    ['KV for a few sequences only (eviction, preemption)', { kvTokens: 1_100, prefillChunk: 50 }],
  ]
  for (const [title, shape] of shapes) {
    it(`gives the same tokens: ${title}`, async () => {
      const cluster = await startTestCluster(shape)
      try {
        assert.deepEqual(await generateAll(cluster.router.grpc, jobs, 'alone'), plain)
        assert.deepEqual(await generateAll(cluster.router.grpc, jobs, 'together'), plain)
      } finally {
        await cluster.stop()
      }
    })
  }

  it('says how many tokens of the prompt were not computed again', async () => {
    const cluster = await startTestCluster()
    const client = new BanyanClient({ address: cluster.router.grpc })
    try {
      const ask = (tokens: number[]) => client.complete({ tokens, sampling: { temperature: 0, maxTokens: 4 } })
      const [first, again, other] = [await ask(shared), await ask([...shared, 9]), await ask([1, ...shared])]
      assert.deepEqual(
        [first, again, other].map(({ usage }) => usage.cachedTokens),
        [0, 288, 0],
      )
    } finally {
      client.close()
      await cluster.stop()
    }
  })
})
