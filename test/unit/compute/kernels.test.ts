import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createAttentionCore } from '../../../lib/compute/attention-core.js'
import { probeDevice, requireExact } from '../../../lib/compute/device-class.js'
import { maskOf, pagesOf } from '../../../lib/compute/probe-pages.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { GraphBuilder } from '../../../lib/compute/graph.js'
import { linear, packLinear } from '../../../lib/compute/linear.js'
import { BLOCK_SIZE, isQuantisable, quantise } from '../../../lib/compute/quantise.js'
import { createSession, type Session } from '../../../lib/compute/session.js'
import { withMinRows } from '../../../lib/compute/two-rows.js'
import type { WeightFormat } from '../../../lib/model/spec.js'

describe('quantise', () => {
  const block = fc.float32Array({ minLength: BLOCK_SIZE, maxLength: BLOCK_SIZE, noNaN: true, min: -100, max: 100 })

  it('int8 is off by at most half a step', () => {
    fc.assert(
      fc.property(block, (weights) => {
        const { data, scales } = quantise(weights, 8)
        const step = scales[0] ?? 0
        weights.forEach((weight, i) =>
          assert.ok(Math.abs(((data[i] ?? 0) - 128) * step - weight) <= step * 0.5001 + 1e-30),
        )
      }),
    )
  })

  it('int4 packs the lower index into the lower nibble', () => {
    const weights = new Float32Array(BLOCK_SIZE)
    weights[0] = -8
    weights[1] = 4
    const { data, scales } = quantise(weights, 4)
    assert.deepEqual([scales[0], data[0]], [1, 0 | (12 << 4)])
  })

  it('a block of zeros stays zero', () => {
    const { data, scales } = quantise(new Float32Array(BLOCK_SIZE), 8)
    assert.deepEqual([scales[0], ...new Set(data)], [0, 128])
  })

  it('takes whole blocks only', () => assert.deepEqual([isQuantisable(64), isQuantisable(40)], [true, false]))
})

function product(format: WeightFormat, inputs: number, outputs: number): { session: Session; weights: Float32Array } {
  const weights = probeValues(inputs * outputs, 3)
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', inputs])
  graph.output(linear(graph, x, packLinear('w', { weights, inputs, outputs }, format), 'w'), 'y', ['rows', outputs])
  return { session: createSession(graph.build('test')), weights }
}

describe('linear', () => {
  for (const [format, inputs, tolerance] of [
    ['f32', 40, 1e-5],
    ['int8', 64, 0.05],
    ['int8', 40, 1e-5], // no block fits: stays float32
    ['int4', 64, 0.8],
  ] as const) {
    it(`${format}, ${inputs} inputs: close to the product in float64`, () => {
      const { session, weights } = product(format, inputs, 24)
      const x = probeValues(3 * inputs, 5, 2)
      const { y = new Float32Array(0) } = session.run({ x: { data: x, dims: [3, inputs] } })
      for (let row = 0; row < 3; row++) {
        for (let out = 0; out < 24; out++) {
          let sum = 0
          for (let i = 0; i < inputs; i++) sum += Number(x[row * inputs + i]) * Number(weights[out * inputs + i])
          assert.ok(Math.abs(sum - Number(y[row * 24 + out])) < tolerance, `row ${row}, output ${out}`)
        }
      }
      session.dispose()
    })
  }

  it('the two-row rule gives a single row the bits it has in company', () => {
    const { session } = product('int4', 64, 24)
    const x = probeValues(2 * 64, 5, 2)
    const both = session.run({ x: { data: x, dims: [2, 64] } })
    const alone = withMinRows(session, 2).run({ x: { data: x.subarray(0, 64), dims: [1, 64] } })
    assert.deepEqual(alone.y, both.y?.subarray(0, 24))
    session.dispose()
  })
})

describe('attention core', () => {
  for (const [numHeads, numKvHeads] of [
    [2, 2],
    [4, 2],
    [3, 1],
  ] as const) {
    it(`${numHeads} heads on ${numKvHeads}: close to softmax attention in float64, masks respected`, () => {
      const headDim = 8
      const [rows, slots] = [3, 7]
      const geometry = { numHeads, numKvHeads, headDim }
      const core = createAttentionCore(geometry)
      const q = probeValues(rows * numHeads * headDim, 1, 4)
      const keys = probeValues(slots * numKvHeads * headDim, 10, 2)
      const values = probeValues(slots * numKvHeads * headDim, 20, 2)
      const upTo = (length: number): number[] => Array.from({ length }, (_, i) => i)
      const isVisible = (row: number, slot: number): boolean => slot === 0 || (slot + row) % 3 !== 0
      const pages = pagesOf(geometry, { keys, values }, upTo(slots))
      const mask = maskOf(
        1,
        upTo(rows).map((row) => upTo(slots).filter((slot) => isVisible(row, slot))),
      )
      const y = core.attend([{ rows, q, mask, pages }])
      for (let row = 0; row < rows; row++) {
        for (let head = 0; head < numHeads; head++) {
          const kv = Math.floor((head * numKvHeads) / numHeads)
          const at = (row * numHeads + head) * headDim
          const scores = Array.from({ length: slots }, (_, slot) => {
            if (!isVisible(row, slot)) return -Infinity
            let sum = 0
            for (let i = 0; i < headDim; i++)
              sum += Number(q[at + i]) * Number(keys[(slot * numKvHeads + kv) * headDim + i])
            return sum / Math.sqrt(headDim)
          })
          const exps = scores.map((score) => Math.exp(score - Math.max(...scores)))
          const total = exps.reduce((sum, value) => sum + value, 0)
          for (let i = 0; i < headDim; i++) {
            const wanted = exps.reduce(
              (sum, e, slot) => sum + (e / total) * Number(values[(slot * numKvHeads + kv) * headDim + i]),
              0,
            )
            assert.ok(Math.abs(wanted - Number(y[at + i])) < 1e-5)
          }
        }
      }
      core.dispose()
    })
  }
})

describe('probeDevice', () => {
  it('finds every kernel exact here, or exact from two rows', () => {
    requireExact(probeDevice({ formats: ['f32', 'int8', 'int4'] }))
  })

  it('names the class by the processor, not by threads or formats (D2)', () => {
    const one = probeDevice({ formats: ['f32'], threads: 1 })
    const two = probeDevice({ formats: ['int8'], threads: 2, geometries: [] })
    assert.equal(one.deviceClass, two.deviceClass)
  })
})
