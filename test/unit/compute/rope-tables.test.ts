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
})
