import assert from 'node:assert/strict'
import { join } from 'node:path'
import { PAGE_SLOTS, pageBytes } from '../../../lib/compute/kv-layout.js'
import { headsOf } from '../../../lib/model/attention-parts.js'
import { openModel, readDeclaredModel } from '../../../lib/model/checkpoint.js'
import { inspectCheckpoint } from '../../../lib/model/inspect.js'
import { modelSizes, totalBytes } from '../../../lib/model/sizes.js'
import { sizeOf } from '../../../lib/model/stored-tensor.js'
import { declaredSpec, QWEN3_30B_A3B } from '../../helpers/declared-models.js'
import { goldenModel, repositoryRoot } from '../../helpers/paths.js'

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

describe('modelSizes', () => {
  it('of a 30 B-A3B configuration are those worked out by hand', () => {
    const sizes = modelSizes(declaredSpec(QWEN3_30B_A3B), 'int8')
    const perWeight = 1 + 2 / 32
    assert.equal(sum(sizes.shards), 48 * 128 * 3 * 2048 * 768 * perWeight)
    assert.deepEqual(new Set(sizes.shards), new Set([48 * 16 * 3 * 2048 * 768 * perWeight]))
    assert.equal(sizes.embedding, 151_936 * 2048 * 4)
    assert.equal(sizes.head, 151_936 * 2048 * perWeight + 2048 * 4)
    const matrices = 2048 * (32 * 128) * 2 + 2048 * (4 * 128) * 2
    const floats = 2 * 2048 + 2 * 128 + 128 * 2048 // norms, q and k norms, gate
    assert.equal(sizes.attention, 48 * (matrices * perWeight + floats * 4))
    assert.equal(sizes.kvPerToken, 48 * 2 * 4 * 128 * 4)
  })

  it('add up to every tensor in float32, with the embedding once more where it is the head too', async () => {
    for (const family of ['qwen3-moe', 'qwen2-moe', 'mixtral', 'olmoe', 'llama-dense', 'qwen3-dense']) {
      const { spec } = await readDeclaredModel(goldenModel(family))
      const sizes = modelSizes(spec, 'f32')
      assert.equal(totalBytes(sizes), sizes.embedding + sizes.attention + sizes.head + sum(sizes.shards), family)
      assert.ok(totalBytes(modelSizes(spec, 'int8')) < totalBytes(sizes), family)
    }
  })

  it('count every published value once, in fused tensors and tied ones too', async () => {
    for (const family of ['gpt-oss', 'gpt-oss-mxfp4', 'granitemoe', 'granitemoe-tied', 'deepseek-v3', 'gemma3']) {
      const checkpoint = await openModel(goldenModel(family))
      const { parameters, unexpected } = inspectCheckpoint(checkpoint)
      const used = [...checkpoint.tensors.values()].filter(({ name }) => !unexpected.includes(name))
      assert.equal(parameters, sum(used.map(({ shape }) => sizeOf(shape))), family)
      checkpoint.close()
    }
  })

  it('count what the cache takes of a token, where latent vectors stand for all heads too', async () => {
    for (const family of ['llama-dense', 'gpt-oss', 'deepseek-v3']) {
      const { spec } = await readDeclaredModel(goldenModel(family))
      const page = pageBytes(
        spec.layers.map(({ attention }) => headsOf(attention)),
        'f32',
      )
      assert.equal(modelSizes(spec, 'f32').kvPerToken, page / PAGE_SLOTS, family)
    }
    const { spec } = await readDeclaredModel(goldenModel('deepseek-v3'))
    assert.equal(modelSizes(spec, 'f32').kvPerToken, 3 * (2 * 32 + 16) * 4)
  })

  it('of the demonstration model stay what `inspect` always said', async () => {
    const { spec } = await readDeclaredModel(join(repositoryRoot, 'models', 'demo'))
    const megabytes = (['f32', 'int8', 'int4'] as const).map((format) => totalBytes(modelSizes(spec, format)) / 1e6)
    assert.deepEqual(
      megabytes.map((value) => value.toFixed(1)),
      ['36.2', '12.0', '7.8'],
    )
  })
})
