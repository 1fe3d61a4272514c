// One side on a device, the other on the CPU, over NATS: the goldens, and the same tokens in any company. The device is a
// GPU in software, or NVIDIA's where there is one.

import assert from 'node:assert/strict'
import { BanyanClient } from '../../sdk/src/index.js'
import { greedyOf, logitsOf, readGolden, worstLogit } from '../helpers/goldens.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { goldenModel } from '../helpers/paths.js'
import { needFloat16, TEST_DEVICES } from '../helpers/test-devices.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const TOLERANCE = 1e-3

/** Roles and the devices they compute on. */
async function classesOf({ router }: TestCluster): Promise<ReadonlySet<string>> {
  const status = (await (await fetch(`${router.http}/cluster`)).json()) as {
    processes: { role: string; deviceClass: string }[]
  }
  return new Set(status.processes.map(({ role, deviceClass }) => `${role} ${deviceClass.split('-')[0]}`))
}

/** Sampled completions of four prompts, at once and one by one. */
async function completions({ router }: TestCluster): Promise<readonly (readonly (readonly number[])[])[]> {
  const client = new BanyanClient({ address: router.grpc })
  const complete = async (seed: bigint) => {
    const sampling = { temperature: 1, maxTokens: 12, seed, ignoreEos: true }
    return (await client.complete({ tokens: [1, 2, 3, 4, 1, 2, 3, 4 + Number(seed % 3n)], sampling })).tokenIds
  }
  const seeds = [1n, 2n, 3n, 4n]
  const together = await Promise.all(seeds.map(complete))
  const alone: (readonly number[])[] = []
  for (const seed of seeds) alone.push(await complete(seed))
  client.close()
  return [together, alone]
}

for (const { device, provider, use } of TEST_DEVICES) {
  describe(`one side on ${device}`, function () {
    this.timeout(240_000) // the driver compiles each kernel, in software
    let nats: TestNats
    let cluster: TestCluster | undefined

    before(async function () {
      use(this)
      nats = await startNatsForTest()
    })
    afterEach(async () => {
      await cluster?.stop()
      cluster = undefined
    })
    after(() => nats?.stop())

    describe('experts there, attention on the CPU', () => {
      it('float32: every logit within 1e-3 of the reference, and its greedy ids', async () => {
        const family = 'qwen2-moe' // with a shared expert
        const model = goldenModel(family)
        cluster = await startTestCluster({ model, weights: 'f32', expertDevice: device, nats: nats.url, drafters: 0 })
        assert.ok((await worstLogit(cluster, family)) < TOLERANCE)
        for (const { prompt, greedy } of readGolden(family).cases) {
          assert.deepEqual(await greedyOf(cluster, prompt), greedy)
        }
      })

      it('int8, rows rounded on the way: drafted, together or alone, the tokens are the same, and the class is told', async () => {
        const model = goldenModel('qwen3-moe')
        cluster = await startTestCluster({ model, expertDevice: device, nats: nats.url, draftPrice: 0 })
        const [together, alone] = await completions(cluster)
        assert.deepEqual(alone, together)
        const classes = await classesOf(cluster)
        for (const wanted of ['attention cpu', `expert-worker ${device}`]) assert.ok(classes.has(wanted), wanted)
      })
    })

    describe('attention there, experts on the CPU', () => {
      it('float32: every logit within 1e-3 of the reference, and its greedy ids', async () => {
        const family = 'qwen3-moe'
        const model = goldenModel(family)
        cluster = await startTestCluster({
          model,
          weights: 'f32',
          attentionDevice: device,
          nats: nats.url,
          drafters: 0,
        })
        assert.ok((await worstLogit(cluster, family)) < TOLERANCE)
        for (const { prompt, greedy } of readGolden(family).cases) {
          assert.deepEqual(await greedyOf(cluster, prompt), greedy)
        }
      })

      it('int8: drafted, together or alone, the tokens are the same, and the class is told', async () => {
        const model = goldenModel('qwen2-moe')
        cluster = await startTestCluster({ model, attentionDevice: device, nats: nats.url, draftPrice: 0 })
        const [together, alone] = await completions(cluster)
        assert.deepEqual(alone, together)
        const classes = await classesOf(cluster)
        for (const wanted of [`attention ${device}`, 'expert-worker cpu']) assert.ok(classes.has(wanted), wanted)
      })
    })

    it('float16 on both sides: every logit within 1e-3 of the CPU’s and its greedy ids', async function () {
      needFloat16(provider, this)
      const family = 'mixtral'
      const shape = { model: goldenModel(family), weights: 'f16', nats: nats.url, drafters: 0 } as const
      const there = { ...shape, attentionDevice: device, expertDevice: device }
      const { cases } = readGolden(family)
      const answers = (from: TestCluster) =>
        Promise.all(
          cases.map(async ({ prompt }) => [await logitsOf(from, prompt), await greedyOf(from, prompt)] as const),
        )
      cluster = await startTestCluster(shape)
      const wanted = await answers(cluster)
      await cluster.stop()
      cluster = await startTestCluster(there)
      for (const [i, [logits, greedy]] of (await answers(cluster)).entries()) {
        const [wantedLogits, wantedGreedy] = wanted[i]!
        assert.deepEqual(greedy, wantedGreedy)
        assert.ok(logits.every((value, at) => Math.abs(value - wantedLogits[at]!) < TOLERANCE))
      }
    })
  })
}
