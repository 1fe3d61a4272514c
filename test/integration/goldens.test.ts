// Families against the reference implementation's goldens, float32, through the whole cluster.

import assert from 'node:assert/strict'
import { greedyOf, readGolden, worstLogit } from '../helpers/goldens.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { goldenModel } from '../helpers/paths.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const FAMILIES = [
  'llama-dense',
  'qwen3-dense',
  'mixtral',
  'qwen2-moe',
  'qwen3-moe',
  'olmoe',
  'granitemoe',
  'gpt-oss',
  'deepseek-v3',
]
const VARIANTS = [
  ...['mistral', 'qwen2-dense', 'gemma3', 'llama-yarn', 'llama-dynamic', 'glm4-moe'],
  ...['deepseek-v3-plain', 'gpt-oss-window', 'granitemoe-tied'],
  ...['deepseek-v3-fp8', 'gpt-oss-mxfp4'],
]
const TOLERANCE = 1e-4

for (const [transport, families] of [
  ['local', [...FAMILIES, ...VARIANTS]],
  ['nats', FAMILIES],
] as const) {
  describe(`goldens in float32, transport ${transport}`, function () {
    this.timeout(60_000)
    let nats: TestNats | undefined

    before(async () => {
      if (transport === 'nats') nats = await startNatsForTest()
    })
    after(() => nats?.stop())

    for (const family of families) {
      describe(family, () => {
        let cluster: TestCluster
        before(async () => {
          const model = goldenModel(family)
          cluster = await startTestCluster({ model, weights: 'f32', prefillChunk: 48, ...(nats && { nats: nats.url }) })
        })
        after(() => cluster.stop())

        it('every logit is within 1e-4 of the reference', async () => {
          assert.ok((await worstLogit(cluster, family)) < TOLERANCE)
        })

        it('greedy decoding appends the reference ids', async () => {
          for (const { prompt, greedy } of readGolden(family).cases) {
            assert.deepEqual(await greedyOf(cluster, prompt), greedy)
          }
        })
      })
    }
  })
}
