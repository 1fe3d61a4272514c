import assert from 'node:assert/strict'
import fc from 'fast-check'
import { packF32, readF32, type WireTensor } from '../../../lib/wire/tensor.js'
import { keepHidden, packHidden, type HiddenBacklog } from '../../../services/router/hidden-backlog.js'

const WIDTH = 3

/** Rows of the tokens at these positions: each says which one it is. */
function rowsAt(positions: readonly number[], width = WIDTH): WireTensor {
  const values = Float32Array.from({ length: positions.length * width }, (_, i) => positions[Math.floor(i / width)]!)
  return packF32(values, [positions.length, width])
}

const upTo = (length: number): number[] => Array.from({ length }, (_, i) => i)
const positionsOf = (backlog: HiddenBacklog): number[] => {
  const values = readF32(packHidden(backlog), 'hidden')
  return upTo(backlog.numRows).map((row) => values[row * backlog.width]!)
}

describe('hidden backlog', () => {
  it('holds the rows of the tokens one after the other, whatever the steps were (H1)', () => {
    fc.assert(
      fc.property(fc.nat(50), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (first, counts) => {
        let backlog: HiddenBacklog | undefined
        let position = first
        for (const count of counts) {
          const positions = upTo(count).map((i) => position + i)
          backlog = keepHidden(backlog, rowsAt(positions), upTo(count), position)
          position += count
        }
        assert.ok(backlog)
        assert.deepEqual([backlog.from, positionsOf(backlog)], [first, upTo(position - first).map((i) => first + i)])
      }),
    )
  })

  it('takes the accepted path out of a tree', () => {
    const tree = rowsAt([5, 66, 6, 77, 7]) // nodes 0, 2 and 4 are the path
    assert.deepEqual(positionsOf(keepHidden(undefined, tree, [0, 2, 4], 5)), [5, 6, 7])
  })

  it('begins anew after a gap, a step back or rows of another width (H1)', () => {
    const before = keepHidden(undefined, rowsAt([4, 5]), [0, 1], 4)
    for (const position of [7, 5, 0]) {
      const { from, numRows } = keepHidden(before, rowsAt([position]), [0], position)
      assert.deepEqual([from, numRows], [position, 1])
    }
    const wide = keepHidden(before, rowsAt([6], 4), [0], 6)
    assert.deepEqual([wide.from, wide.width, wide.numRows], [6, 4, 1])
  })

  it('holds a few hundred rows at most, the newest ones (H2)', () => {
    let backlog: HiddenBacklog | undefined
    for (let position = 0; position < 6000; position += 50)
      backlog = keepHidden(backlog, rowsAt(upTo(50).map((i) => position + i)), upTo(50), position)
    assert.ok(backlog)
    const { from, numRows } = backlog
    assert.ok(numRows >= 100 && numRows <= 300, `${numRows} rows`)
    assert.deepEqual(
      positionsOf(backlog),
      upTo(numRows).map((i) => from + i),
    )
    assert.equal(from + numRows, 6000)
  })

  it('does not change with the frame that the rows came in', () => {
    const frame = Float32Array.of(1, 1, 1)
    const backlog = keepHidden(undefined, packF32(frame, [1, WIDTH]), [0], 1)
    frame.fill(9)
    assert.deepEqual(positionsOf(backlog), [1])
  })

  it('reads rows wherever their bytes begin', () => {
    const { data, shape } = rowsAt([1, 2])
    const shifted = new Uint8Array(data.byteLength + 1)
    shifted.set(data, 1)
    const backlog = keepHidden(undefined, { dtype: 'f32', shape, data: shifted.subarray(1) }, [0, 1], 1)
    assert.deepEqual(positionsOf(backlog), [1, 2])
  })
})
