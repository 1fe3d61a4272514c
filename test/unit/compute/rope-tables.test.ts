import assert from 'node:assert/strict'
import { createRopeTables, inverseFrequencies } from '../../../lib/compute/rope-tables.js'

const plain = { theta: 10_000, scaling: { type: 'default' } } as const
const close = (actual: ArrayLike<number>, wanted: readonly number[]): void =>
  assert.ok(
    wanted.every((value, i) => Math.abs(Number(actual[i]) - value) <= 1e-6 * Math.max(1, Math.abs(value))),
    `want ${wanted.join()}, got ${Array.from(actual).join()}`,
  )

describe('rope tables', () => {
  it('turns dimension i of 8 by position / theta^(2i/8)', () => {
    close(inverseFrequencies(plain, 8), [1, 0.1, 0.01, 0.001])
    const tables = createRopeTables(plain, 8).rows([0, 3])
    close(tables.subarray(0, 8), [1, 1, 1, 1, 0, 0, 0, 0])
    close(tables.subarray(8, 12), [Math.cos(3), Math.cos(0.3), Math.cos(0.03), Math.cos(0.003)])
    close(tables.subarray(12), [Math.sin(3), Math.sin(0.3), Math.sin(0.03), Math.sin(0.003)])
  })

  it('gives a position the same row in any order and company', () => {
    const tables = createRopeTables(plain, 4)
    const both = tables.rows([9, 2])
    assert.deepEqual(createRopeTables(plain, 4).rows([2]), both.subarray(4))
    assert.deepEqual(tables.rows([2, 9]), Float32Array.of(...both.subarray(4), ...both.subarray(0, 4)))
  })

  it('gives a position the same row after more positions than are kept (RT2)', () => {
    const tables = createRopeTables(plain, 4)
    const first = tables.rows([7])
    tables.rows(Array.from({ length: 20_000 }, (_, position) => position))
    assert.deepEqual(tables.rows([7]), first)
  })

  // Wavelengths of theta 10000 and width 8: 6.28, 62.8, 628, 6283. The bounds are 64 / 4 = 16 and 64 / 1 = 64.
  it('llama3 keeps short waves, divides long ones, and blends between', () => {
    const scaling = { type: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPosition: 64 } as const
    const smooth = (64 / (20 * Math.PI) - 1) / 3
    close(inverseFrequencies({ theta: 10_000, scaling }, 8), [
      1,
      (1 - smooth) * (0.1 / 8) + smooth * 0.1,
      0.01 / 8,
      0.001 / 8,
    ])
  })

  it('linear divides every frequency', () => {
    close(
      inverseFrequencies({ theta: 10_000, scaling: { type: 'linear', factor: 4 } }, 8),
      [0.25, 0.025, 0.0025, 0.00025],
    )
  })

  // Frequencies as transformers 5.24.0 computes them (modeling_rope_utils).
  const yarn = {
    type: 'yarn',
    factor: 4,
    originalMaxPosition: 64,
    betaFast: 8,
    betaSlow: 0.5,
    attentionFactor: 1.25,
  } as const
  const published = {
    truncated: [
      1, 0.237170815, 0.049999997, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-5,
    ],
    untruncated: [
      1, 0.238408461, 0.0442483015, 0.00790569466, 0.00249999994, 0.000790569466, 0.000250000012, 7.90569466e-5,
    ],
    dynamic: [1, 0.267223001, 0.0714081228, 0.0190818924, 0.00509912008, 0.00136260199, 0.000364118576, 9.730085e-5],
  }

  it('yarn keeps short waves, divides long ones, and ramps between whole dimensions or not', () => {
    close(inverseFrequencies({ theta: 10_000, scaling: { ...yarn, isTruncated: true } }, 16), published.truncated)
    close(inverseFrequencies({ theta: 10_000, scaling: { ...yarn, isTruncated: false } }, 16), published.untruncated)
  })

  it('yarn multiplies cosines and sines by the attention factor', () => {
    const rope = { theta: 10_000, scaling: { ...yarn, isTruncated: true } }
    const angles = inverseFrequencies(rope, 16).map((frequency) => 5 * frequency)
    const wanted = [...angles].flatMap((angle) => 1.25 * Math.cos(angle))
    close(createRopeTables(rope, 16).rows([5]), [...wanted, ...[...angles].map((angle) => 1.25 * Math.sin(angle))])
  })

  it('dynamic stretches a position as if the text ended there, from the trained length on (RT1)', () => {
    const rope = { theta: 10_000, scaling: { type: 'dynamic', factor: 4, originalMaxPosition: 64 } } as const
    close(inverseFrequencies(rope, 16, 99), published.dynamic)
    const tables = createRopeTables(rope, 16)
    assert.deepEqual(
      tables.rows([63]),
      createRopeTables({ theta: 10_000, scaling: { type: 'default' } }, 16).rows([63]),
    )
    const [both, alone] = [tables.rows([99, 5]).subarray(0, 16), createRopeTables(rope, 16).rows([99])]
    assert.deepEqual(both, alone)
    const angles = [...inverseFrequencies(rope, 16, 99)].map((frequency) => Math.fround(99 * frequency))
    close(
      alone.subarray(0, 8),
      angles.map((angle) => Math.cos(angle)),
    )
  })
})
