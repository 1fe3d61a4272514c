// GGUF files through the whole cluster: the goldens as our own export writes them, and the demonstration model.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../lib/actor/clock.js'
import { quantise } from '../../lib/compute/quantise.js'
import { openModel } from '../../lib/model/checkpoint.js'
import { ggufOf, type GgufWeights } from '../../lib/model/gguf/export.js'
import { writeGguf } from '../../lib/model/gguf/writer.js'
import type { TensorRef } from '../../lib/model/spec.js'
import { greedyOf, readGolden, worstLogit } from '../helpers/goldens.js'
import { halvedCheckpoint } from '../helpers/halved-checkpoint.js'
import { demoModel, goldenModel } from '../helpers/paths.js'
import { startTestCluster, type TestCluster } from '../helpers/test-cluster.js'

const FAMILIES = ['llama-dense', 'qwen3-dense', 'mixtral', 'qwen2-moe', 'qwen3-moe', 'olmoe']
/** Written by the `gguf` package; the reference implementation computed with the same weights. */
const WRITTEN = ['mixtral-split', 'llama3', 'qwen2', 'gpt-oss', 'gemma3', 'granitemoe']
const TOLERANCE = 1e-4

describe('GGUF files', function () {
  this.timeout(60_000)
  let folder: string
  before(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-gguf-'))))
  after(() => rmSync(folder, { recursive: true }))

  async function exported(model: string, weights: GgufWeights): Promise<string> {
    const checkpoint = await openModel(model)
    const path = join(folder, `${checkpoint.spec.family}-${weights}.gguf`)
    await writeGguf(path, ggufOf(checkpoint, weights)).finally(() => checkpoint.close())
    return path
  }

  async function served<T>(model: string, ask: (cluster: TestCluster) => Promise<T>): Promise<T> {
    const cluster = await startTestCluster({ model, weights: 'f32' })
    return ask(cluster).finally(() => cluster.stop())
  }

  async function answersAsReference(model: string, golden: string): Promise<void> {
    await served(model, async (cluster) => {
      assert.ok((await worstLogit(cluster, golden)) < TOLERANCE)
      for (const { prompt, greedy } of readGolden(golden).cases)
        assert.deepEqual(await greedyOf(cluster, prompt), greedy)
    })
  }

  for (const family of FAMILIES) {
    it(`${family} as we export it answers as the reference does`, async () =>
      answersAsReference(await exported(goldenModel(family), 'f32'), family))
  }

  for (const name of WRITTEN) {
    it(`${name} as the gguf package writes it answers as the reference does`, () =>
      answersAsReference(join(goldenModel(`gguf/${name}`), 'model.gguf'), `gguf/${name}`))
  }

  for (const family of ['llama-dense', 'qwen3-moe']) {
    it(`${family} in float16 answers token for token as the same weights in safetensors`, async () => {
      const prompts = readGolden(family).cases.map(({ prompt }) => prompt)
      const ask = (cluster: TestCluster): Promise<(readonly number[])[]> =>
        Promise.all(prompts.map((prompt) => greedyOf(cluster, prompt)))
      assert.deepEqual(
        await served(await exported(goldenModel(family), 'f16'), ask),
        await served(await halvedCheckpoint(family, folder), ask),
      )
    })
  }

  it('the demonstration model in Q8_0 keeps its tokenizer, template, levels and scales', async () => {
    const published = await openModel(demoModel)
    const file = await openModel(await exported(demoModel, 'int8'))
    const text = 'The quick brown fox\n  jumped 1234 times — über Straße, 你好 🙂<|endoftext|>'
    const ids = (model: typeof file): unknown => [
      model.tokenizer?.encode(text),
      model.tokenizer?.encode(text, { parseSpecial: true }),
    ]
    assert.deepEqual(ids(file), ids(published))
    const messages = [{ role: 'user', content: 'Once upon a time' }]
    assert.equal(
      await file.chatTemplate?.render(messages, systemClock),
      await published.chatTemplate?.render(messages, systemClock),
    )
    assert.deepEqual(file.spec.eosTokenIds, published.spec.eosTokenIds)
    const down = ({ spec }: typeof file): TensorRef => spec.layers[3]?.ffn.experts[5]?.down.weight ?? assert.fail()
    const { data, scales } = quantise(published.tensor(down(published)), 8)
    const blocks = file.blocks(down(file))
    assert.deepEqual([blocks?.bits, blocks?.data, blocks?.scales], [8, data, scales])
    published.close()
    file.close()
  })
})
