import assert from 'node:assert/strict'
import { createImbalance } from '../../../services/attention/imbalance.js'
import { packI32 } from '../../../lib/wire/tensor.js'

describe('createImbalance', () => {
  const start = (numRouted: readonly number[], rows: readonly (readonly number[])[]) => {
    const counts = rows.map((row) => Int32Array.from(row))
    const totals = () => ({
      ...packI32(counts.flatMap((row) => [...row])),
      shape: [counts.length, counts[0]?.length ?? 0],
    })
    return { counts, imbalance: createImbalance(numRouted, totals) }
  }

  it('is the busiest expert over the mean of its layer; dense layers and idle ones are left out', () => {
    const { imbalance } = start(
      [4, 0, 4, 4],
      [
        [3, 1, 0, 0, 0],
        [9, 0, 0, 0, 0], // a dense layer: its always-active expert alone
        [1, 1, 1, 1, 8], // the last one is always active
        [0, 0, 0, 0, 0],
      ],
    )
    assert.deepEqual(
      [...imbalance.ratios()],
      [
        [0, 3],
        [2, 1],
      ],
    )
  })

  it('keeps a whole window until the next one is whole, over the end of the counter too', () => {
    const { counts, imbalance } = start([2], [[2 ** 31 - 100, 0]])
    const row = counts[0] ?? assert.fail()
    const steps = (expert: number, count: number): void => {
      for (let i = 0; i < count; i++) {
        row[0]! += 1
        row[expert]! += 1
        imbalance.stepDone()
      }
    }
    steps(0, 256) // the counter goes round
    steps(0, 256)
    assert.equal(imbalance.ratios().get(0), 2)
    steps(1, 255)
    assert.equal(imbalance.ratios().get(0), 2)
    steps(1, 1)
    assert.equal(imbalance.ratios().get(0), 1)
  })
})
