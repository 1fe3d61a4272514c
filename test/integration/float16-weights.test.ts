// `--weights f16` on a checkpoint whose numbers are float16 already: every logit has the bits of `--weights f32`, and every
// token is the same one, in one process and cut up over NATS.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../lib/actor/clock.js'
import { createKernels } from '../../lib/compute/kernels.js'
import { createWeightStore } from '../../lib/compute/weight-store.js'
import { createExpertStore } from '../../lib/decode/expert-store.js'
import { openModel, openWeights } from '../../lib/model/checkpoint.js'
import { shardPlan } from '../../lib/model/expert-shards.js'
import { ggufOf } from '../../lib/model/gguf/export.js'
import { writeGguf } from '../../lib/model/gguf/writer.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { greedyOf, logitsOf, readGolden } from '../helpers/goldens.js'
import { halvedCheckpoint } from '../helpers/halved-checkpoint.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { goldenModel } from '../helpers/paths.js'
import { startTestCluster, type ClusterShape } from '../helpers/test-cluster.js'

describe('weights in float16', function () {
  this.timeout(60_000)
  let folder: string
  let nats: TestNats
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-float16-'))
    nats = await startNatsForTest()
  })
  after(async () => {
    await nats.stop()
    rmSync(folder, { recursive: true })
  })

  /** Bits of the logits of every position of the golden's prompts, and the greedy ids that follow them. */
  async function answers(family: string, shape: ClusterShape): Promise<unknown> {
    const cluster = await startTestCluster(shape)
    try {
      const given = []
      for (const { prompt } of readGolden(family).cases) {
        const { buffer, byteOffset, length } = await logitsOf(cluster, prompt)
        const bits = new Uint32Array(buffer, byteOffset, length)
        given.push({ bits, greedy: await greedyOf(cluster, prompt) })
      }
      return given
    } finally {
      await cluster.stop()
    }
  }

  async function compare(family: string, model: string, shapes: readonly ClusterShape[]): Promise<void> {
    const wanted = await answers(family, { model, weights: 'f32', machineCode: false, drafters: 0, draft: [] })
    for (const shape of shapes)
      assert.deepEqual(await answers(family, { model, weights: 'f16', ...shape }), wanted, JSON.stringify(shape))
  }
  const CUT = { experts: 3, replicas: 2, prefillChunk: 7, draftPrice: 0.02 }

  it('a GGUF file in F16 answers bit for bit as with f32', async () => {
    const family = 'mixtral' // all of whose matrices are whole blocks wide
    const checkpoint = await openModel(goldenModel(family))
    const model = join(folder, `${family}.gguf`)
    await writeGguf(model, ggufOf(checkpoint, 'f16')).finally(() => checkpoint.close())
    await compare(family, model, [{ machineCode: false }, { ...CUT, nats: nats.url }])
  })

  it('so does a model with latent attention, whose key rows are turned', async () => {
    const family = 'deepseek-v3'
    await compare(family, await halvedCheckpoint(family, folder), [{ ...CUT, neighbours: false }])
  })

  it('a value that float16 does not hold is one error that names file and tensor', async () => {
    const name = 'model.layers.1.block_sparse_moe.experts.2.w2.weight'
    const model = await halvedCheckpoint('mixtral', folder, (tensor, values) => {
      if (tensor === name) values[40] = -65520
    })
    const checkpoint = await openWeights(model)
    const { numShards } = shardPlan(checkpoint.spec)
    const kernels = createKernels(1)
    const place = async (format: WeightFormat): Promise<void> => {
      const weights = createWeightStore(undefined)
      const store = createExpertStore({ checkpoint, format, kernels, weights, turn: systemClock.turn })
      await store.place([...Array(numShards).keys()]).finally(() => store.dispose())
    }
    await place('f32')
    await assert.rejects(place('f16'), {
      code: 'invalid_argument',
      message: `${join(model, 'model.safetensors')}: tensor ${name}: want values that float16 holds (up to 65504), got -65520; choose another --weights than f16`,
    })
    checkpoint.close()
    await kernels.dispose()
  })
})
