// The six families against the reference implementation's goldens, float32, through the whole cluster.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openSafetensors } from '../../lib/model/safetensors.js'
import { packI32, readF32 } from '../../lib/wire/tensor.js'
import { BanyanClient } from '../../sdk/src/index.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { goldenModel } from '../helpers/paths.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const FAMILIES = ['llama-dense', 'qwen3-dense', 'mixtral', 'qwen2-moe', 'qwen3-moe', 'olmoe']
const TOLERANCE = 1e-4

interface Golden {
  readonly cases: readonly { readonly prompt: number[]; readonly greedy: number[] }[]
}

const readGolden = (family: string): Golden =>
  // The file's form is fixed: it was written by the reference implementation and is never regenerated.
  JSON.parse(readFileSync(join(goldenModel(family), 'golden.json'), 'utf8')) as Golden

async function worstLogit(cluster: TestCluster, family: string): Promise<number> {
  const golden = openSafetensors(join(goldenModel(family), 'golden.safetensors'))
  let worst = 0
  for (const [i, { prompt }] of readGolden(family).cases.entries()) {
    const message = { kind: 'router.logits', body: { tokens: packI32(prompt) }, replyKind: 'logits.page' } as const
    const page = await cluster.system.ask('router-0', message, { timeoutMs: 20_000 })
    const logits = readF32(page.logits, 'logits')
    const wanted = golden.readFloat32(`logits${i}`)
    assert.equal(logits.length, wanted.length)
    worst = logits.reduce((most, value, at) => Math.max(most, Math.abs(value - (wanted[at] ?? NaN))), worst)
  }
  golden.close()
  return worst
}

async function greedyOf(cluster: TestCluster, prompt: readonly number[]): Promise<readonly number[]> {
  const client = new BanyanClient({ address: cluster.router.grpc })
  const { tokenIds } = await client.complete({
    tokens: prompt,
    sampling: { temperature: 0, maxTokens: 32, ignoreEos: true },
  })
  client.close()
  return tokenIds
}

for (const transport of ['local', 'nats'] as const) {
  describe(`goldens in float32, transport ${transport}`, function () {
    this.timeout(60_000)
    let nats: TestNats | undefined

    before(async () => {
      if (transport === 'nats') nats = await startNatsForTest()
    })
    after(() => nats?.stop())

    for (const family of FAMILIES) {
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
