import assert from 'node:assert/strict'
import { systemClock } from '../../../lib/actor/clock.js'
import { createKernels } from '../../../lib/compute/kernels.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { loadAttentionModel } from '../../../lib/decode/attention-model.js'
import { attentionRowBytes } from '../../../lib/deploy/operands.js'
import { openWeights } from '../../../lib/model/checkpoint.js'
import { goldenModel } from '../../helpers/paths.js'

describe('bytes of a row in attention', () => {
  const kernels = createKernels(1)
  after(() => kernels.dispose())

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
