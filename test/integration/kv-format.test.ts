// KV in float16: another fingerprint, and in it the same tokens however they are computed (I1).

import assert from 'node:assert/strict'
import { BanyanClient } from '../../sdk/src/index.js'
import { generateAll, type Job } from '../helpers/generate-all.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { PROMPTS } from '../helpers/prompts.js'
import { goldenModel } from '../helpers/paths.js'
import { startTestCluster, type ClusterShape } from '../helpers/test-cluster.js'

const LATENT_MODEL = goldenModel('deepseek-v3')
const jobs = Array.from({ length: 8 }, (_, i): Job => {
  const sampling = { temperature: i % 2 === 0 ? 0 : 0.8, seed: BigInt(i), maxTokens: 24, ignoreEos: true }
  return { name: `${i}`, request: { text: `${PROMPTS[i] ?? ''}${'export const a = 1\n'.repeat(5 * i)}`, sampling } }
})
const ids = Array.from({ length: 6 }, (_, i): Job => {
  const tokens = Array.from({ length: 10 + 30 * i }, (_, j) => 3 + ((i * 31 + j * 17) % 90))
  const sampling = { temperature: i % 2 === 0 ? 0 : 0.8, seed: BigInt(i), maxTokens: 20, ignoreEos: true }
  return { name: `${i}`, request: { tokens, sampling } }
})

describe('KV in float16', function () {
  this.timeout(120_000)
  let nats: TestNats
  before(async () => {
    nats = await startNatsForTest()
  })
  after(() => nats.stop())

  const answersOf = async (shape: ClusterShape, asked: readonly Job[], how: 'alone' | 'together') => {
    const cluster = await startTestCluster({ kvFormat: 'f16', ...shape })
    const client = new BanyanClient({ address: cluster.router.grpc })
    try {
      const { fingerprintParts } = await client.serverInfo()
      assert.equal(fingerprintParts.kv, shape.kvFormat ?? 'f16')
      return await generateAll(cluster.router.grpc, asked, how)
    } finally {
      client.close()
      await cluster.stop()
    }
  }

  const plain: ClusterShape = { prefixCache: false, draft: [], drafters: 0 }

  it('gives the same tokens with trees, preemption, shared prefixes, other workers, and over NATS', async () => {
    const wanted = await answersOf(plain, jobs, 'alone')
    assert.deepEqual(await answersOf({}, jobs, 'together'), wanted)
    assert.deepEqual(await answersOf({ kvTokens: 700, prefillChunk: 50, machineCode: false }, jobs, 'together'), wanted)
    assert.deepEqual(await answersOf({ nats: nats.url, attention: 2 }, jobs, 'together'), wanted)
  })

  it('gives the same tokens where latent vectors are kept', async () => {
    const wanted = await answersOf({ ...plain, model: LATENT_MODEL }, ids, 'alone')
    assert.deepEqual(await answersOf({ model: LATENT_MODEL, draft: ['suffix'] }, ids, 'together'), wanted)
  })

  it('is told by the fingerprint', async () => {
    const names = []
    for (const kvFormat of ['f32', 'f16'] as const) {
      const cluster = await startTestCluster({ ...plain, kvFormat })
      const client = new BanyanClient({ address: cluster.router.grpc })
      names.push((await client.serverInfo()).fingerprint)
      client.close()
      await cluster.stop()
    }
    assert.notEqual(names[0], names[1])
  })
})
