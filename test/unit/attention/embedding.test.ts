// A value of the embedding that is no number is found at load, whichever file holds it, and whether or not the LM head is
// read from the same tensor.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../lib/actor/clock.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { inOneGo } from '../../../lib/compute/steps.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { loadAttentionModel } from '../../../lib/decode/attention-model.js'
import { checkEmbedding, createEmbedding } from '../../../lib/decode/embedding.js'
import { openWeights } from '../../../lib/model/checkpoint.js'
import { isIntegerFormat } from '../../../lib/model/gguf/blocks.js'
import { readGgufHeader } from '../../../lib/model/gguf/header.js'
import { openSafetensors, writeSafetensors } from '../../../lib/model/safetensors.js'
import type { WeightFormat } from '../../../lib/model/spec.js'
import { goldenModel } from '../../helpers/paths.js'

describe('rows of an embedding', () => {
  it('are kept until others took their room', async () => {
    const checkpoint = await openWeights(goldenModel('qwen3-moe'))
    checkpoint.close()
    const hidden = 2 ** 19 // two megabytes a row
    const read: number[] = []
    const embed = createEmbedding({
      spec: { ...checkpoint.spec, hidden },
      rows: (_, token) => {
        read.push(token)
        return new Float32Array(hidden).fill(token)
      },
    })
    const firsts = [[5], [5, 6], [5, 7], [5, 6]].map((tokens) =>
      Array.from(tokens, (_, row) => embed(tokens)[row * hidden]),
    )
    assert.deepEqual(firsts, [[5], [5, 6], [5, 7], [5, 6]])
    assert.deepEqual(read, [5, 6, 7, 6])
  })
})

describe('a NaN in an embedding', () => {
  let folder: string
  before(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-nan-'))))
  after(() => rmSync(folder, { recursive: true }))

  async function load(path: string, format: WeightFormat): Promise<void> {
    const checkpoint = await openWeights(path)
    const options = { format, kernels: sharedKernels(1), weights: createWeightStore(undefined), turn: systemClock.turn }
    try {
      const model = await loadAttentionModel(checkpoint, options)
      model.dispose()
    } finally {
      checkpoint.close()
    }
  }

  for (const name of readdirSync(goldenModel('gguf')).filter((each) => !each.includes('.'))) {
    it(`is found in the GGUF file ${name}`, async () => {
      const published = readdirSync(goldenModel(`gguf/${name}`)).find((each) => each.endsWith('.gguf')) ?? assert.fail()
      const path = join(folder, `${name}.gguf`)
      writeFileSync(path, readFileSync(join(goldenModel(`gguf/${name}`), published)))
      await load(path, 'int8')
      const { begin, format } = (await readGgufHeader(path)).tensors.get('token_embd.weight') ?? assert.fail()
      const bytes = readFileSync(path)
      bytes.fill(0xff, begin, begin + (format === 'F32' ? 4 : 2)) // a value, or the scale of a block
      writeFileSync(path, bytes)
      for (const weights of ['f32', 'int8'] as const) {
        const what = weights === 'int8' && isIntegerFormat(format) ? 'scales' : 'values' // integers are taken as they are
        const message = `tensor token_embd\\.weight: want finite ${what}, got \\d+ of \\d+ that are not, the first NaN at`
        await assert.rejects(load(path, weights), {
          code: 'invalid_argument',
          message: new RegExp(`\\.gguf: ${message}`),
        })
      }
    })
  }

  it('is found in safetensors, a piece at a time', async () => {
    const file = openSafetensors(join(goldenModel('mixtral'), 'model.safetensors'))
    const tensors = Object.fromEntries(
      [...file.tensors].map(([name, { shape }]) => [name, { shape, data: file.readFloat32(name) }]),
    )
    file.close()
    writeFileSync(join(folder, 'config.json'), readFileSync(join(goldenModel('mixtral'), 'config.json')))
    tensors['model.embed_tokens.weight']?.data.fill(NaN, 300 * 64 + 5, 300 * 64 + 6)
    writeSafetensors(join(folder, 'model.safetensors'), tensors)
    const message = /tensor model\.embed_tokens\.weight: want finite values, got 1 of 20480 .*NaN at \[300, 5\]/
    await assert.rejects(load(folder, 'f32'), { message })
    const checkpoint = await openWeights(folder)
    assert.throws(() => inOneGo(checkEmbedding(checkpoint)), { message })
    checkpoint.close()
  })
})
