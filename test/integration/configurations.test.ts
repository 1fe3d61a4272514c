// Small random checkpoints over what real configurations vary (and the goldens do not), through the cluster, against a
// float64 reference that shares no code with it. The seed of a listed checkpoint is its place in the list; then some of
// every family are drawn, from seeds that a failure names.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { specOf } from '../../lib/model/families/registry.js'
import { wantedTensors } from '../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { writeSafetensors, type FloatTensor } from '../../lib/model/safetensors.js'
import { packI32, readF32 } from '../../lib/wire/tensor.js'
import { CASES, UNEVEN, type Config } from '../helpers/configuration-cases.js'
import { DRAWN_FAMILIES, drawConfiguration } from '../helpers/drawn-configurations.js'
import { createRandom } from '../helpers/random.js'
import { referenceLogits } from '../helpers/reference-model.js'
import { startTestCluster } from '../helpers/test-cluster.js'

const DRAWS = 2 // of each family
const FIRST_SEED = 20_261_128

/** xorshift32 in [-0.5, 0.5). */
function generator(seed: number): () => number {
  let state = (seed + 1) * 2654435761
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32 - 0.5
  }
}

function randomTensors(config: Config, seed: number): Record<string, FloatTensor> {
  const random = generator(seed)
  const tensors: Record<string, FloatTensor> = {}
  for (const { name, part, shape: wanted } of wantedTensors(specOf(config, 'config.json')).values()) {
    const shape = part?.stored ?? wanted
    const size = shape.reduce((product, axis) => product * axis, 1)
    const isNorm = name.includes('norm')
    const middle = config.model_type === 'gemma3_text' ? 0 : 1
    const scale = name.includes('embed') ? 2 : 0.4
    tensors[name] = {
      shape,
      data: Float32Array.from({ length: size }, () => (isNorm ? middle + 0.2 * random() : scale * random())),
    }
  }
  return tensors
}

describe('configurations against a float64 reference', function () {
  this.timeout(30_000)
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-config-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  /** The largest difference of a logit, as a part of the largest logit. */
  async function worstOf(config: Config, seed: number, weights: WeightFormat): Promise<number> {
    const tensors = randomTensors(config, seed)
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
    writeSafetensors(join(folder, 'model.safetensors'), tensors)
    const tokens = Array.from({ length: 40 }, (_, i) => (i * 37 + seed) % config.vocab_size)
    const wanted = referenceLogits(config, new Map(Object.entries(tensors)), tokens).flat()
    const cluster = await startTestCluster({ model: folder, weights, prefillChunk: 17, draft: [], drafters: 0 })
    try {
      const message = { kind: 'router.logits', body: { tokens: packI32(tokens) }, replyKind: 'logits.page' } as const
      const { logits } = await cluster.system.ask('router-0', message, { timeoutMs: 20_000 })
      const worst = readF32(logits, 'logits').reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (wanted[i] ?? NaN))),
        0,
      )
      return worst / Math.max(1, ...wanted.map(Math.abs))
    } finally {
      await cluster.stop()
    }
  }

  for (const [seed, [title, config]] of CASES.entries()) {
    it(title, async () => {
      const worst = await worstOf(config, seed, 'f32')
      assert.ok(worst < 2e-5, `seed ${seed}: worst logit off by ${worst} of the largest`)
    })
  }

  for (const [i, family] of DRAWN_FAMILIES.entries()) {
    it(`${DRAWS} of ${family} drawn at random`, async () => {
      for (let draw = 0; draw < DRAWS; draw++) {
        const seed = FIRST_SEED + i * DRAWS + draw
        const config = drawConfiguration(family, createRandom(seed))
        const worst = await worstOf(config, seed, 'f32')
        assert.ok(worst < 2e-5, `seed ${seed}: worst logit off by ${worst} of the largest: ${JSON.stringify(config)}`)
      }
    })
  }

  for (const [title, config] of UNEVEN) {
    it(`${title}, int8: what no block fits stays float32`, async () => {
      const worst = await worstOf(config, 0, 'int8')
      assert.ok(worst < 0.05, `worst logit off by ${worst} of the largest`)
    })
  }
})
