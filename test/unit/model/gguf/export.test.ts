// The exported file, read back by its published layout: names, shapes, keys, values; and that nothing half-written stays.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCheckpoint, type Checkpoint } from '../../../../lib/model/checkpoint.js'
import { ggufOf, type GgufWeights } from '../../../../lib/model/gguf/export.js'
import { writeGguf } from '../../../../lib/model/gguf/writer.js'
import { decodeGguf, readGguf, type GgufFile } from '../../../helpers/gguf-reader.js'
import { goldenModel } from '../../../helpers/paths.js'

describe('export gguf', () => {
  let folder: string
  before(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-gguf-'))))
  after(() => rmSync(folder, { recursive: true }))

  async function exported(model: string, weights: GgufWeights): Promise<{ file: GgufFile; checkpoint: Checkpoint }> {
    const checkpoint = openCheckpoint(goldenModel(model))
    const path = join(folder, `${model}-${weights}.gguf`)
    await writeGguf(path, ggufOf(checkpoint, weights))
    return { file: readGguf(path), checkpoint }
  }

  it('names architecture and sizes as llama.cpp reads them', async () => {
    const { file, checkpoint } = await exported('qwen3-moe', 'f32')
    const { hidden, layers, vocabSize } = checkpoint.spec
    const key = (name: string): unknown => file.metadata.get(name)
    assert.equal(key('general.architecture'), 'qwen3moe')
    assert.deepEqual(
      ['vocab_size', 'embedding_length', 'block_count', 'expert_count'].map((name) => key(`qwen3moe.${name}`)),
      [vocabSize, hidden, layers.length, layers[0]?.ffn.experts.length],
    )
    checkpoint.close()
  })

  it('holds the embedding and the stacked experts, value by value', async () => {
    const { file, checkpoint } = await exported('qwen3-moe', 'f32')
    const { spec } = checkpoint
    const embedding = file.tensors.get('token_embd.weight') ?? assert.fail()
    assert.deepEqual(embedding.dims, [spec.hidden, spec.vocabSize])
    assert.deepEqual(decodeGguf(0, embedding.data), Array.from(checkpoint.tensor(spec.embedding)))
    const experts = spec.layers[1]?.ffn.experts ?? []
    const downs = file.tensors.get('blk.1.ffn_down_exps.weight') ?? assert.fail()
    const wanted = experts.flatMap(({ down }) => Array.from(checkpoint.tensor(down.weight)))
    assert.deepEqual(decodeGguf(0, downs.data), wanted)
    checkpoint.close()
  })

  it('stores matrices in blocks and norms in float32 where int8 is asked for', async () => {
    const { file, checkpoint } = await exported('mixtral', 'int8')
    assert.deepEqual(
      ['blk.0.ffn_up_exps.weight', 'blk.0.attn_norm.weight'].map((name) => file.tensors.get(name)?.type),
      [8, 0],
    )
    checkpoint.close()
  })

  it('leaves nothing behind when it is interrupted (GW1)', async () => {
    const checkpoint = openCheckpoint(goldenModel('mixtral'))
    const path = join(folder, 'stopped.gguf')
    const abort = new AbortController()
    const stop = (): void => abort.abort()
    await assert.rejects(writeGguf(path, ggufOf(checkpoint, 'f32'), { signal: abort.signal, onTensor: stop }))
    assert.deepEqual([existsSync(path), readdirSync(folder).filter((name) => name.includes('tmp'))], [false, []])
    checkpoint.close()
  })
})
