import fc from 'fast-check'
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { CPU, HOP, STEP } from '../../../lib/deploy/constants.js'
import { modelLoad } from '../../../lib/deploy/model-load.js'
import {
  balanceOf,
  busiestOf,
  busiestShare,
  distinctExperts,
  distinctShards,
  stagesOf,
  stepTime,
  type Processor,
  type Setup,
} from '../../../lib/deploy/step-time.js'
import { readDeclaredModel } from '../../../lib/model/checkpoint.js'
import type { ModelSpec } from '../../../lib/model/spec.js'
import { declaredSpec, QWEN3_30B_A3B, SYNTHETIC_0_4 } from '../../helpers/declared-models.js'
import { repositoryRoot } from '../../helpers/paths.js'

const { spec: demo } = await readDeclaredModel(join(repositoryRoot, 'models', 'demo'))
const large = modelLoad(declaredSpec(QWEN3_30B_A3B), 'int8')
const near = (actual: number, wanted: number, what?: string): void =>
  assert.ok(Math.abs(actual - wanted) <= 1e-9 * Math.abs(wanted), `${what ?? ''} want ${wanted}, found ${actual}`)

/** 1 GB/s and 1 Gop/s are a million a millisecond. */
const processor: Processor = { bytesPerMs: 100e6, operationsPerMs: 1000e6, callMs: 0 }
const setup: Setup = {
  load: large,
  attention: processor,
  experts: processor,
  numAttention: 1,
  numExpertWorkers: 8,
  microBatches: 1,
  networkBytesPerMs: 1.25e6,
  roundTripMs: 0.1,
  context: 1024,
}

describe('the parts of the cost model', () => {
  it('count the experts that n rows touch', () => {
    near(distinctExperts(128, 8, 1), 8)
    near(distinctExperts(8, 2, 2), 8 * (1 - 0.75 ** 2))
    assert.equal(distinctExperts(0, 0, 5), 0)
  })

  it('count the shards that a row touches as a bench of the wire found them', () => {
    // bench:hop, 16 rows, top-4 of 32 experts in 8 shards on two workers: 113091 bytes back from each
    const [layer = assert.fail()] = modelLoad(declaredSpec(SYNTHETIC_0_4), 'int8').layers
    near(distinctShards(layer, 8), 8 * (1 - (28 * 27 * 26 * 25) / (32 * 31 * 30 * 29)))
    const bytesFromEach = (16 * distinctShards(layer, 8) * 4096) / 2
    assert.ok(Math.abs(bytesFromEach / 113_091 - 1) < 0.01, String(bytesFromEach))
  })

  it('give the busiest worker whole shards', () => {
    assert.deepEqual(
      [1, 2, 3, 4, 7, 8, 16].map((workers) => busiestShare(8, workers) * 8),
      [8, 4, 3, 2, 2, 1, 1],
    )
  })

  it('never give it more than there is, and all where it is alone', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.1, max: 1e4, noNaN: true }), fc.integer({ min: 1, max: 8 }), (total, shards) => {
        const most = busiestOf(total, shards / 8)
        assert.ok(most <= total && most >= (total * shards) / 8 - 1e-9)
      }),
    )
    near(busiestOf(5, 1), 5)
  })
})

describe('a step', () => {
  it('is the sum worked out by hand with one attention worker', () => {
    const [layer = assert.fail()] = large.layers
    const rows = 4
    const stages = stagesOf(layer, setup, rows)
    const attentionBytes = (2048 * 4096 * 2 + 2048 * 512 * 2) * (1 + 2 / 32) + (2 * 2048 + 2 * 128 + 128 * 2048) * 4
    near(
      stages.attention,
      STEP.layerMs + rows * STEP.layerRowMs + attentionBytes / 100e6 + (rows * 1024 * 2 * 4 * 128 * 4) / 100e6,
    )
    const mean = (128 * (1 - (1 - 8 / 128) ** rows)) / 8
    const touched = mean + Math.sqrt(2 * mean * (7 / 8) * Math.log(8))
    near(stages.experts, (touched * 3 * 2048 * 768 * (1 + 2 / 32)) / 100e6)
    near(stages.hop, HOP.fixedMs + 0.1)
    const shards = distinctShards(layer, 8)
    const [out, back] = [rows * 2048 * 2.25 * 8 * (1 - (7 / 8) ** shards), rows * 8192 * shards]
    near(stages.network, Math.max(out, back) / 1.25e6 + (out + back) * HOP.msPerByte)
    const head = (151_936 * 2048 * (1 + 2 / 32)) / 100e6
    const perLayer = stages.attention + stages.experts + stages.network + stages.hop
    near(stepTime(setup, rows).totalMs, 48 * perLayer + head + STEP.fixedMs + rows * STEP.rowMs)
  })

  it('waits for experts that many attention workers keep busy: A m T_e', () => {
    const busy: Setup = { ...setup, numAttention: 16, experts: { ...processor, bytesPerMs: 10e6 } }
    const time = stepTime(busy, 64)
    const [layer = assert.fail()] = large.layers
    const { experts } = stagesOf(layer, busy, 4)
    assert.ok(time.totalMs > 48 * 16 * (experts + HOP.expertBusyMs))
    assert.ok(time.waitingMs > 0)
    assert.equal(time.limitedBy, 'experts')
  })

  it('hides compute behind compute in two micro-batches where compute is what takes time', () => {
    const slow = { bytesPerMs: 1e9, operationsPerMs: 100e6, callMs: 0 }
    const [one, two] = [1, 2].map((microBatches) =>
      stepTime(
        { ...setup, attention: slow, experts: { ...slow, operationsPerMs: 30e6 }, context: 1, microBatches },
        128,
      ),
    )
    assert.ok((two?.totalMs ?? 0) < 0.8 * (one?.totalMs ?? 0), `${two?.totalMs} for ${one?.totalMs}`)
  })

  const positive = fc.double({ min: 0.1, max: 1000, noNaN: true })
  const anySetup = fc.record({
    attention: positive,
    experts: positive,
    operations: positive,
    network: positive,
    numAttention: fc.integer({ min: 1, max: 16 }),
    numExpertWorkers: fc.integer({ min: 1, max: 16 }),
    microBatches: fc.constantFrom(1, 2),
    context: fc.integer({ min: 1, max: 8192 }),
    streams: fc.integer({ min: 1, max: 256 }),
  })
  type Drawn = typeof anySetup extends fc.Arbitrary<infer T> ? T : never
  const timeOf = (drawn: Drawn): number =>
    stepTime(
      {
        ...setup,
        ...drawn,
        attention: { bytesPerMs: drawn.attention * 1e6, operationsPerMs: drawn.operations * 1e6, callMs: 0 },
        experts: { bytesPerMs: drawn.experts * 1e6, operationsPerMs: drawn.operations * 1e6, callMs: 0 },
        networkBytesPerMs: drawn.network * 1e5,
      },
      drawn.streams,
    ).totalMs

  for (const name of ['attention', 'experts', 'operations', 'network'] as const) {
    it(`ST1: is never slower with more of ${name}`, () => {
      fc.assert(
        fc.property(anySetup, fc.double({ min: 1, max: 10, noNaN: true }), (drawn, factor) => {
          assert.ok(timeOf({ ...drawn, [name]: drawn[name] * factor }) <= timeOf(drawn) * (1 + 1e-12))
        }),
      )
    })
  }
  for (const name of ['streams', 'context'] as const) {
    it(`ST1: is never faster with more of ${name}`, () => {
      fc.assert(
        fc.property(anySetup, fc.integer({ min: 1, max: 100 }), (drawn, more) => {
          const grown = timeOf({ ...drawn, microBatches: 1, [name]: drawn[name] + more })
          assert.ok(grown >= timeOf({ ...drawn, microBatches: 1 }) * (1 - 1e-12))
        }),
      )
    })
  }

  it('ST2: its parts add up', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), fc.integer({ min: 1, max: 9 }), (streams, numAttention) => {
        const { totalMs, ...parts } = stepTime({ ...setup, numAttention, microBatches: 2 }, streams)
        const { attentionMs, expertMs, networkMs, fixedMs, waitingMs } = parts
        near(attentionMs + expertMs + networkMs + fixedMs + waitingMs, totalMs)
      }),
    )
  })

  it('balances attention against experts where MegaScale-Infer does: k1 E / (k3 K)', () => {
    // Experts one a worker, products alone: T_a = 2 a n / s, T_e = 2 e (n K / E) / s, so n_a = a E / (e K).
    const load = {
      ...large,
      numShards: 128,
      layers: large.layers.map((layer) => ({
        ...layer,
        attention: { bytes: 0, values: 1e8 },
        expert: { bytes: 0, values: 1e7 },
      })),
    }
    const ideal: Setup = { ...setup, load, numExpertWorkers: 128, context: 0 }
    const { numAttention, attentionMsPerRow } = balanceOf(ideal, 100_000)
    near(attentionMsPerRow, 0.2 + STEP.layerRowMs)
    const exact = ((attentionMsPerRow / 0.02) * 128) / 8
    assert.ok(numAttention < exact && numAttention > 0.8 * exact, `${numAttention} of ${exact}: chance costs some`)
  })
})

// The machine of bench/RESULTS.md: two processors that all processes share, so a core for attention and half a one for each
// of two expert workers. Contexts of those runs were around 150 tokens.
describe('predictions beside measurements', () => {
  const core = (cores: number): Processor => ({
    bytesPerMs: cores * CPU.readBytesPerMsPerCore * CPU.readShare,
    operationsPerMs: cores * CPU.operationsPerMsPerCore.int8,
    callMs: 0,
  })
  const measured: readonly (readonly [string, ModelSpec, number, number])[] = [
    ['demonstration model, 1 stream', demo, 1, 259],
    ['demonstration model, 16 streams', demo, 16, 2097],
    ['0.4 GB, 1 stream', declaredSpec(SYNTHETIC_0_4), 1, 36.3],
    ['0.4 GB, 16 streams', declaredSpec(SYNTHETIC_0_4), 16, 197],
  ]
  for (const [what, spec, streams, tokensPerSecond] of measured) {
    it(`${what}: within a quarter of ${tokensPerSecond} tokens a second, and not above`, () => {
      const { totalMs } = stepTime(
        {
          load: modelLoad(spec, 'int8'),
          attention: core(1),
          experts: core(0.5),
          numAttention: 1,
          numExpertWorkers: 2,
          microBatches: 1,
          networkBytesPerMs: Infinity,
          roundTripMs: 0,
          context: 150,
        },
        streams,
      )
      const ratio = (streams / totalMs) * (1000 / tokensPerSecond)
      assert.ok(ratio > 0.75 && ratio < 1.02, `predicted / measured: ${ratio.toFixed(2)}`)
    })
  }
})
