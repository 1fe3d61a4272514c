import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createPace } from '../../../services/router/pace.js'
import { addShapes, chunkShape, EMPTY_STEP, type StepShape } from '../../../services/router/step-shape.js'

const perRow = (ms: number) => ({ isKnown: true, predict: ({ rows }: StepShape): number => 1 + ms * rows })
const decoding = (sequences: number): StepShape => ({ ...EMPTY_STEP, sequences, decoding: sequences, rows: sequences })

describe('createPace', () => {
  it('grants what the target leaves room for, in whole KV blocks (A1)', () => {
    const chunk = createPace(perRow(1), 100).begin(decoding(4))
    assert.equal(chunk(0, 500), 80) // 4 + 80 rows take 85 ms, 4 + 96 would take 101
    assert.equal(chunk(0, 500), 0)
  })

  it('takes the rest of a prompt whole where it fits', () => {
    assert.equal(createPace(perRow(1), 100).begin(decoding(4))(0, 37), 37)
  })

  it('without a target of its own, a step takes eight decode steps, at least 50 ms', () => {
    assert.equal(createPace(perRow(1)).begin(decoding(3))(0, 500), 32) // 50 ms
    assert.equal(createPace(perRow(1)).begin(decoding(15))(0, 500), 112) // 8 × 16 ms
  })

  it('the first prefill of a step always gets on (A1)', () => {
    const chunk = createPace(perRow(1000), 1).begin(decoding(1))
    assert.deepEqual([chunk(0, 500), chunk(0, 500)], [16, 0])
  })

  it('gives everything where nothing decodes (A2), and while nothing is known', () => {
    const pace = createPace(perRow(1000), 1)
    assert.equal(pace.begin(EMPTY_STEP)(0, 512), 512)
    assert.equal(createPace({ ...perRow(1000), isKnown: false }, 1).begin(decoding(3))(0, 512), 512)
  })

  it('a later target never gives less, and what is granted beyond the least fits the target (A1, A3)', () => {
    const part = fc.integer({ min: 1, max: 600 })
    fc.assert(
      fc.property(part, part, part, fc.double({ min: 0.01, max: 5, noNaN: true }), (targetMs, most, base, ms) => {
        const model = {
          isKnown: true,
          predict: ({ rows, contextSlots }: StepShape): number => 2 + ms * rows + contextSlots / 5000,
        }
        const granted = (target: number): number => createPace(model, target).begin(decoding(2))(base, most)
        const rows = granted(targetMs)
        assert.ok(rows <= granted(targetMs + 10) && rows <= most && rows >= Math.min(16, most))
        if (rows > 16) assert.ok(model.predict(addShapes(decoding(2), chunkShape(base, rows))) <= targetMs)
      }),
    )
  })
})
