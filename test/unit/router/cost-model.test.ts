// The cost model on synthetic steps whose true cost is known: it finds it under noise, and keeps its invariants whatever
// it is told.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createFit } from '../../../services/router/cost-fit.js'
import { createCostModel, type CostModel, type CostModelState } from '../../../services/router/cost-model.js'
import { createExpertSpread } from '../../../services/router/expert-spread.js'
import { addShapes, chunkShape, EMPTY_STEP, type StepShape } from '../../../services/router/step-shape.js'

const EXPERTS = { layers: 4, experts: 16, topK: 2 }

/** mulberry32: equal seeds, equal steps; 0 ≤ value < 1. */
function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const decodeShape = (sequences: number, context: number, nodes = 1): StepShape => ({
  sequences,
  decoding: sequences,
  rows: sequences * nodes,
  sampled: sequences * nodes,
  drawn: 0,
  afterDraft: 0,
  contextSlots: sequences * nodes * context,
})

const trueSpread = (rows: number): number => 64 * (1 - (14 / 16) ** (1 + (rows - 1) * 0.6))

/** Memory-bound at first, then a bend; milliseconds. */
const trueMs = ({ sequences, rows, contextSlots }: StepShape): number =>
  2 +
  0.3 * sequences +
  0.05 * rows +
  0.1 * Math.max(0, rows - 32) +
  0.15 * (contextSlots / 1000) +
  0.06 * trueSpread(rows)

function drawShape(random: () => number): StepShape {
  const decoding = decodeShape(1 + Math.floor(random() * 16), 1 + Math.floor(random() * 1000), random() < 0.3 ? 4 : 1)
  const prefill = chunkShape(Math.floor(random() * 500), 1 + Math.floor(random() * 250))
  return random() < 0.8 ? decoding : addShapes(decoding, prefill)
}

interface Noise {
  readonly spread: number // ± of the true time
  readonly stragglers: number // share of steps that take ten times as long
}

function teach(model: CostModel, steps: number, { seed = 1, noise }: { seed?: number; noise: Noise }): void {
  const random = createRandom(seed)
  for (let step = 0; step < steps; step++) {
    const shape = drawShape(random)
    const factor = random() < noise.stragglers ? 10 : 1 + noise.spread * (2 * random() - 1)
    const distinctExperts = Math.round(trueSpread(shape.rows))
    model.observe({ shape, predictedMs: model.predict(shape), durationMs: trueMs(shape) * factor, distinctExperts })
  }
}

function errorsOf(model: CostModel, seed = 99): number[] {
  const random = createRandom(seed)
  const shapes = Array.from({ length: 200 }, () => drawShape(random))
  return shapes.map((shape) => Math.abs(model.predict(shape) / trueMs(shape) - 1)).sort((a, b) => a - b)
}

describe('createCostModel', () => {
  it('finds the true cost under 10 % noise and 2 % stragglers: median error at most 5 %', () => {
    for (const seed of [1, 2, 3]) {
      const model = createCostModel(EXPERTS)
      teach(model, 2000, { seed, noise: { spread: 0.1, stragglers: 0.02 } })
      const errors = errorsOf(model)
      assert.ok((errors[100] ?? 1) <= 0.05, `median ${errors[100]} with seed ${seed}`)
      assert.ok((errors[180] ?? 1) <= 0.15, `p90 ${errors[180]} with seed ${seed}`)
    }
  })

  it('measures its own error with predictions that were made before the step (C2)', () => {
    const model = createCostModel(EXPERTS)
    teach(model, 1000, { noise: { spread: 0, stragglers: 0 } })
    const { error } = model.summary()
    assert.ok(error.median < 0.03 && error.p90 < 0.1, JSON.stringify(error))
    assert.equal(error.count, 1000 - 8)
    const shape = decodeShape(1, 10)
    for (let i = 0; i < 400; i++) model.observe({ shape, predictedMs: 2 * trueMs(shape), durationMs: trueMs(shape) })
    assert.equal(model.summary().error.p90, 1)
  })

  it('a thousand steps of decoding do not blur what a prefill costs (F4)', () => {
    const model = createCostModel(EXPERTS)
    teach(model, 1000, { noise: { spread: 0.1, stragglers: 0 } })
    const random = createRandom(5)
    for (let step = 0; step < 5000; step++) {
      const shape = decodeShape(1, 1 + Math.floor(random() * 1000))
      const durationMs = trueMs(shape) * (1 + 0.1 * (2 * random() - 1))
      model.observe({ shape, predictedMs: model.predict(shape), durationMs })
    }
    const prefill = chunkShape(200, 200)
    assert.ok(Math.abs(model.predict(prefill) / trueMs(prefill) - 1) < 0.1)
  })

  it('follows a machine that becomes slower within a few steps', () => {
    const model = createCostModel(EXPERTS)
    teach(model, 1000, { noise: { spread: 0.1, stragglers: 0 } })
    const shape = decodeShape(4, 300)
    for (let step = 0; step < 30; step++)
      model.observe({ shape, predictedMs: model.predict(shape), durationMs: 1.5 * trueMs(shape) })
    assert.ok(Math.abs(model.predict(shape) / (1.5 * trueMs(shape)) - 1) < 0.1)
  })

  it('tells steps with trees from those without where they come in long turns, after a slow start of both', () => {
    const tree = { ...decodeShape(1, 300, 20), afterDraft: 1 }
    const plain = decodeShape(1, 300)
    const msOf = (shape: StepShape): number => trueMs(shape) + 3 * shape.afterDraft
    for (const seed of [1, 2, 3]) {
      const model = createCostModel(EXPERTS)
      const random = createRandom(seed)
      const run = (shape: StepShape, factor: number): void => {
        const durationMs = msOf(shape) * factor * (1 + 0.2 * (2 * random() - 1))
        model.observe({ shape, predictedMs: model.predict(shape), durationMs, distinctExperts: trueSpread(shape.rows) })
      }
      for (let turn = 0; turn < 40; turn++) {
        for (let step = 0; step < 128; step++) run(plain, turn < 4 ? 1.5 : 1)
        for (let step = 0; step < 40; step++) run(step % 32 === 31 ? plain : tree, turn < 4 ? 4 : 1)
      }
      const error = Math.abs(model.predict(plain) / msOf(plain) - 1)
      assert.ok(error < 0.15, `predicted ${model.predict(plain)} for ${msOf(plain)} with seed ${seed}`)
    }
  })

  it('forgets soon that the first steps of a process were slow', () => {
    const model = createCostModel(EXPERTS)
    const shapes = [decodeShape(1, 100), decodeShape(1, 100, 4), chunkShape(0, 200)]
    for (let step = 0; step < 40; step++)
      for (const shape of shapes) {
        const durationMs = trueMs(shape) * (step < 3 ? 10 : 1)
        model.observe({ shape, predictedMs: model.predict(shape), durationMs })
      }
    for (const shape of shapes) assert.ok(Math.abs(model.predict(shape) / trueMs(shape) - 1) < 0.1)
  })

  it('no cost is below zero and more work never takes less time, whatever it is told (C1, F1)', () => {
    const part = fc.integer({ min: 1, max: 300 })
    const step = fc.record({ sequences: part, rows: part, context: part, ms: fc.double() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const model = createCostModel(EXPERTS)
        for (const { sequences, rows, context, ms } of steps) {
          const shape = { ...EMPTY_STEP, sequences, rows, contextSlots: context * rows }
          model.observe({ shape, predictedMs: model.predict(shape), durationMs: ms, distinctExperts: rows })
        }
        for (const [term, ms] of Object.entries(model.summary().terms)) assert.ok(ms >= 0, `${term} ${ms}`)
        let before = 0
        for (let rows = 1; rows < 600; rows += 7) {
          const predicted = model.predict(chunkShape(100, rows))
          assert.ok(predicted >= before && Number.isFinite(predicted), `${rows} rows: ${predicted} after ${before}`)
          before = predicted
        }
      }),
    )
  })

  it('a model made from a snapshot predicts and learns the same', () => {
    const model = createCostModel(EXPERTS)
    teach(model, 500, { noise: { spread: 0.1, stragglers: 0.02 } })
    const state = JSON.parse(JSON.stringify(model.snapshot())) as CostModelState // what was written just now
    const twin = createCostModel(EXPERTS, state)
    for (const each of [model, twin]) teach(each, 50, { seed: 8, noise: { spread: 0.1, stragglers: 0 } })
    assert.deepEqual(twin.snapshot(), model.snapshot())
    assert.equal(twin.predict(chunkShape(10, 90)), model.predict(chunkShape(10, 90)))
  })

  it('holds no more after ten thousand steps than after a hundred (F2)', () => {
    const sizeAfter = (steps: number): number => {
      const model = createCostModel(EXPERTS)
      teach(model, steps, { noise: { spread: 0.1, stragglers: 0 } })
      const { classes, coefficients } = model.snapshot().fit
      return (
        coefficients.length + classes.reduce((sum, { products, moments }) => sum + products.length + moments.length, 0)
      )
    }
    assert.equal(sizeAfter(10_000), sizeAfter(100))
  })
})

describe('createFit', () => {
  it('counts what steps do not tell apart as fixed, so that the first drafts are tried', () => {
    const fit = createFit(3)
    for (let i = 0; i < 50; i++) fit.observe([1, 1, 1], 4, 1)
    assert.ok((fit.coefficients[0] ?? 0) > 3.9 && fit.coefficients.slice(1).every((value) => value < 0.1))
  })

  it('a straggler moves a prediction by a few percent only (F3)', () => {
    const fit = createFit(2)
    for (let i = 0; i < 200; i++) fit.observe([1, i % 5], 4 + (i % 5), 1 + (i % 5))
    fit.observe([1, 2], 6000, 2)
    assert.ok(Math.abs(fit.predict([1, 2]) / 6 - 1) < 0.05)
  })
})

describe('createExpertSpread', () => {
  it('learns how far rows agree in their experts from what steps report', () => {
    const spread = createExpertSpread(EXPERTS)
    for (let i = 0; i < 300; i++) spread.observe(1 + (i % 24), trueSpread(1 + (i % 24)))
    for (const rows of [1, 4, 16, 100]) assert.ok(Math.abs(spread.expected(rows) / trueSpread(rows) - 1) < 0.02)
  })

  it('a dense model has none, and a count that cannot be changes nothing', () => {
    const dense = createExpertSpread({ layers: 0, experts: 0, topK: 0 })
    dense.observe(5, 5)
    assert.equal(dense.expected(5), 0)
    const spread = createExpertSpread(EXPERTS)
    const before = spread.snapshot()
    for (const count of [0, 3, 65, 1e9]) spread.observe(8, count)
    assert.deepEqual(spread.snapshot(), before)
  })
})
