import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import { createKernels } from '../../../lib/compute/kernels.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { loadAttentionModel } from '../../../lib/decode/attention-model.js'
import { createExpertStore } from '../../../lib/decode/expert-store.js'
import { attentionRowBytes } from '../../../lib/deploy/operands.js'
import { openWeights } from '../../../lib/model/checkpoint.js'
import { modelSizes } from '../../../lib/model/sizes.js'
import { WEIGHT_FORMATS } from '../../../lib/model/weight-formats.js'
import { goldenModel } from '../../helpers/paths.js'

describe('bytes of a row in attention', () => {
  const kernels = createKernels(1)
  after(() => kernels.dispose())

  it('and of all weights are what loaded models take, within 2 %', async () => {
    const { turn } = systemClock
    const within = (predicted: number, held: number, [least, most]: readonly [number, number], what: string): void =>
      assert.ok(predicted >= least * held && predicted <= most * held, `${what}: want ${held} bytes, got ${predicted}`)
    for (const family of ['llama-dense', 'qwen3-moe', 'gpt-oss', 'deepseek-v3']) {
      const checkpoint = await openWeights(goldenModel(family))
      for (const format of WEIGHT_FORMATS) {
        const options = { format, kernels, weights: createWeightStore(undefined), turn }
        const { attention, head, shards } = modelSizes(checkpoint.spec, format)
        const bounds = format.endsWith('auto') ? ([0.98, 1.12] as const) : ([0.98, 1.02] as const) // auto: at most
        const before = kernels.usedBytes
        const model = await loadAttentionModel(checkpoint, options)
        within(attention + head, kernels.usedBytes - before, bounds, `${family} ${format} attention`)
        model.dispose()
        const store = createExpertStore({ ...options, checkpoint })
        await store.place([...shards.keys()])
        const all = shards.reduce((sum, bytes) => sum + bytes, 0)
        within(all, kernels.usedBytes - before, bounds, `${family} ${format} experts`)
        await store.dispose()
      }
      checkpoint.close()
    }
  })

  for (const family of ['llama-dense', 'qwen3-moe', 'gpt-oss', 'deepseek-v3', 'deepseek-v3-plain'])
    it(`are those that a loaded ${family} asks for`, async () => {
      const checkpoint = await openWeights(goldenModel(family))
      const { layers, hidden } = checkpoint.spec
      for (const format of ['f32', 'int8', 'int4'] as const) {
        const weights = createWeightStore(undefined)
        const model = await loadAttentionModel(checkpoint, { format, kernels, weights, turn: systemClock.turn })
        const wanted = layers.map(({ attention }) => attentionRowBytes(attention, hidden, format))
        assert.deepEqual(
          model.layers.map(({ needs }) => needs.workBytes),
          wanted,
          format,
        )
        model.dispose()
      }
      checkpoint.close()
    })
})
